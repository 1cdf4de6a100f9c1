//! What must hold whatever bytes arrive, one module a target. The fuzzer runs these checks on new inputs, the
//! test suite on the kept ones: the same code, so that they cannot drift apart.

pub mod alipay_notify;
pub mod amount;
pub mod gateway_reply;
pub mod notify;
pub mod opinion;
pub mod refund;
pub mod second;
pub mod second_form;
pub mod second_json;
pub mod session_cookie;
pub mod sign_string;
pub mod v2_xml;
pub mod v3_notify;

/// Panics when the input shows a fault.
pub type Check = fn(&[u8]);

/// Every target by its name, which is also that of its binary and of its corpus.
pub const TARGETS: [(&str, Check); 9] = [
    ("alipay_notify", alipay_notify::check),
    ("amount", amount::check),
    ("gateway_reply", gateway_reply::check),
    ("notify", notify::check),
    ("refund", refund::check),
    ("session_cookie", session_cookie::check),
    ("sign_string", sign_string::check),
    ("v2_xml", v2_xml::check),
    ("v3_notify", v3_notify::check),
];
