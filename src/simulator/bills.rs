//! The bill of a day out of the book of truth, in WeChat's text and in Alipay's. Ready at ten in the morning of the day
//! after. No I/O.

use super::{
    Simulator,
    layout::layout,
    trades::{Book, Trade},
};
use crate::domain::{
    bill::{BillDay, BillKind},
    money::yuan_text,
    order::Provider,
    time::UnixMs,
};

/// From the end of the day.
const READY_MS: i64 = 10 * 3_600_000;

/// One line: a payment or a refund of this day.
pub(super) struct Line {
    pub kind: BillKind,
    pub at: UnixMs,
    pub fen: i64,
    /// Of a refund.
    pub refund_id: String,
    pub out_refund_no: String,
    pub trade: Trade,
}

pub(super) fn is_ready(day: BillDay, now: UnixMs) -> bool {
    now >= day.end().plus_ms(READY_MS)
}

/// What happened that day with this provider, as its scenario lets it stand in the bill.
pub(super) fn lines(simulator: &Simulator, provider: Provider, day: BillDay) -> Vec<Line> {
    let now = simulator.now();
    let mut book = simulator.book();
    let mut lines = Vec::new();
    for trade in book.newest(now, usize::MAX) {
        if trade.protocol.provider() == provider {
            lines.extend(of_trade(&mut book, &trade, day, now));
        }
    }
    lines.sort_by_key(|line| line.at);
    lines
}

fn of_trade(book: &mut Book, trade: &Trade, day: BillDay, now: UnixMs) -> Vec<Line> {
    let line = |kind, at, fen, refund_id: &str, out_refund_no: &str| Line {
        kind,
        at,
        fen,
        refund_id: refund_id.to_owned(),
        out_refund_no: out_refund_no.to_owned(),
        trade: trade.clone(),
    };
    let scenario = book.scenario(&trade.out_trade_no);
    let mut lines = Vec::new();
    if let Some(at) = trade.paid_at.filter(|at| day.contains(*at))
        && let Some(fen) = scenario.billed(trade.total_fee.get())
    {
        lines.push(line(BillKind::Payment, at, fen, "", ""));
    }
    for refund in book.refunds.of_trade(&trade.out_trade_no) {
        let done = refund.status(now) == super::RefundStatus::Success && day.contains(refund.ends_at);
        if done {
            let fen = refund.refund_fee.get();
            lines.push(line(BillKind::Refund, refund.ends_at, fen, &refund.refund_id, &refund.out_refund_no));
        }
    }
    lines
}

const HEADER: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注";
const SUMS: &str =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";

/// WeChat's: a byte order mark, a backtick before every value, sums at the end.
pub(super) fn wechat_text(lines: &[Line]) -> String {
    let of = |wanted: BillKind| -> i64 {
        lines.iter().filter(|line| line.kind == wanted).map(|line| line.fen).sum()
    };
    let (paid, back) = (yuan_text(of(BillKind::Payment)), yuan_text(of(BillKind::Refund)));
    let mut text = format!("\u{feff}{HEADER}\r\n");
    for line in lines {
        text.push_str(&wechat_line(line));
    }
    let count = lines.len();
    text.push_str(&format!("{SUMS}\r\n`{count},`{paid},`{back},`0.00,`0.00000,`{paid},`{back}\r\n"));
    text
}

fn wechat_line(line: &Line) -> String {
    let (trade, yuan) = (&line.trade, yuan_text(line.fen));
    let (state, paid, back, how) = match line.kind {
        BillKind::Payment => ("SUCCESS", yuan.as_str(), "0.00", ["", ""]),
        BillKind::Refund => ("REFUND", "0.00", yuan.as_str(), ["ORIGINAL", "SUCCESS"]),
    };
    let or_zero = |text: &str| if text.is_empty() { "0".to_owned() } else { text.to_owned() };
    let at = line.at.beijing_text();
    let cells = [
        at.as_str(),
        &trade.appid,
        &trade.merchant,
        "0",
        "",
        &trade.transaction_id,
        &trade.out_trade_no,
        trade.payer.as_deref().unwrap_or_default(),
        &trade.trade_type,
        state,
        "OTHERS",
        "CNY",
        paid,
        "0.00",
        &or_zero(&line.refund_id),
        &or_zero(&line.out_refund_no),
        back,
        "0.00",
        how[0],
        how[1],
        &trade.goods,
        trade.parameters.get("attach").unwrap_or_default(),
        "0.00000",
        "0.60%",
        paid,
        back,
        "",
    ];
    format!("`{}\r\n", cells.join(",`"))
}

/// What V2 says in place of a bill: XML without a signature.
pub(super) fn refused(reason: &str, code: &str) -> String {
    let fields = [("return_code", "FAIL"), ("return_msg", reason), ("error_code", code)];
    layout(&fields.into_iter().collect())
}

const ALIPAY_HEADER: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注";

/// Alipay's details: comments, then CSV with tabs behind the numbers, refunds below zero.
pub(super) fn alipay_text(seller_id: &str, day: BillDay, lines: &[Line], now: UnixMs) -> String {
    let midnight = |at: UnixMs| {
        let day = at.beijing_day();
        let mut parts = day.split('-');
        let mut part = || parts.next().unwrap_or_default();
        format!("{}年{}月{}日 00:00:00", part(), part(), part())
    };
    let (from, to) = (midnight(day.start()), midnight(day.end()));
    let mut text = format!(
        "#支付宝业务明细查询\r\n#账号：[{seller_id}0156]\r\n#起始日期：[{from}]   终止日期：[{to}]\r\n\
        #----------业务明细列表----------\r\n{ALIPAY_HEADER}\r\n"
    );
    for line in lines {
        let (kind, sign) = match line.kind {
            BillKind::Payment => ("交易", ""),
            BillKind::Refund => ("退款", "-"),
        };
        let (trade, yuan) = (&line.trade, yuan_text(line.fen));
        text.push_str(&format!(
            "{}\t,{}\t,{kind},\"{}\",{},{},,,,,sim***@example.com,{sign}{yuan},{sign}{yuan},0.00,0.00,0.00,0.00,0.00,,0.00,0.00,{},0.00,0.00,\r\n",
            trade.transaction_id,
            trade.out_trade_no,
            trade.goods.replace('"', "\"\""),
            trade.created_at.beijing_text(),
            line.at.beijing_text(),
            line.out_refund_no,
        ));
    }
    text.push_str("#----------业务明细列表结束----------\r\n");
    text.push_str(&format!("#导出时间：[{}]\r\n", now.beijing_text()));
    text
}
