//! How WeChat's messages look on the wire. No I/O.

use crate::gateway::wechat_v2::xml::Fields;
use std::fmt::Write;

/// Writes a message the way WeChat's sample looks: a field a line, bare numbers for fees, and a line
/// break before some CDATA, which a reader must not take for part of the value.
pub fn layout(fields: &Fields) -> String {
    layout_in("xml", fields)
}

/// The same in another root.
pub fn layout_in(root: &str, fields: &Fields) -> String {
    let mut text = format!("<{root}>\n");
    for (name, value) in fields.iter() {
        let bare = name.ends_with("_fee") && value.bytes().all(|byte| byte.is_ascii_digit());
        let value = value.replace("]]>", "]]]]><![CDATA[>");
        // Writing to a String cannot fail.
        let _ = match name {
            _ if bare => writeln!(text, "<{name}>{value}</{name}>"),
            "trade_type" | "trade_state" | "result_code" => {
                writeln!(text, "<{name}>\n<![CDATA[{value}]]></{name}>")
            }
            _ => writeln!(text, "<{name}><![CDATA[{value}]]></{name}>"),
        };
    }
    // Writing to a String cannot fail.
    let _ = writeln!(text, "</{root}>");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_reads_back_to_the_same_fields() {
        let fields: Fields =
            [("total_fee", "20"), ("trade_type", "APP"), ("attach", " a]]>b "), ("cash_fee", "x")]
                .into_iter()
                .collect();
        assert!(layout(&fields).contains("<trade_type>\n<![CDATA[APP]]></trade_type>"));
        assert_eq!(Fields::parse(layout(&fields).as_bytes()), Ok(fields));
    }
}
