//! A user's records: the list, one order, its refunds.

super::words! {
    records = "充值记录", "Records";
    month(year, number) = "{year} 年 {number} 月", "{year}-{number}";
    month_paid = "充值", "Topped up";
    month_refunded = "退款", "Refunded";
    on_hold = "退款冻结", "On hold for refunds";
    today(at) = "今天 {at}", "Today {at}";
    yesterday(at) = "昨天 {at}", "Yesterday {at}";
    tail = "尾号 ", "No. …";
    no_records = "还没有充值记录", "No records yet";
    no_records_text = "充值后，每一笔都会记在这里。", "Every top-up you make will stand here.";
    go_top_up = "去充值", "Top up";
    older = "加载更多", "Show older";

    state_paid = "已入账", "Credited";
    state_late = "晚到账", "Credited late";
    state_open = "待支付", "To be paid";
    state_checking = "确认中", "Checking";
    state_closed = "已关闭", "Closed";
    state_review = "需核对", "Under review";
    state_handled = "商家已处理", "Settled by the shop";

    paid = "支付成功", "Payment successful";
    late_text = "这笔款在订单关闭后才到账，已照常计入余额，无需再付。",
        "This payment arrived after the order was closed. It was credited as usual; there is nothing more to pay.";
    done = "完成", "Done";
    to_be_paid = "待支付", "To be paid";
    cannot_go_on = "这笔订单现在不能继续支付。如果已扣款，会在几分钟内入账。",
        "This order cannot be paid now. If you were charged, it will be credited within minutes.";
    top_up_anew = "重新充值", "Top up again";
    closed = "订单已关闭", "Order closed";
    closed_text = "超时未支付。如果你已付款，到账后会自动计入余额。",
        "It was not paid in time. If you did pay, it will be credited by itself.";
    review = "订单需人工核对", "Needs a manual check";
    review_text = "收到的付款与订单不一致。款项是安全的，商家核对后会入账或退回。",
        "The payment we received does not fit the order. Your money is safe: the shop will credit or return it after a check.";
    review_do = "请勿重复支付。联系客服时，请告知订单号。",
        "Please do not pay again. If you contact the shop, name the order number.";
    handled_text = "收到过一笔没有自动入账的付款，商家已经核对。",
        "We received a payment that was not credited by itself. The shop has checked it.";
    handled_credited(yuan) = "¥{yuan} 已计入余额", "¥{yuan} was added to your balance";
    handled_refunded(yuan) = "¥{yuan} 原路退回", "¥{yuan} goes back the way it came";
    handled_ask = "如有疑问，请把订单号告诉商家。", "If anything is unclear, please name the order number to the shop.";
    refunding(yuan) = "退款处理中 ¥{yuan}", "Refund of ¥{yuan} under way";
    refunded(yuan) = "已退款 ¥{yuan}", "¥{yuan} refunded";

    goods = "商品", "For";
    goods_name = "账户充值", "Account top-up";
    paid_by = "支付方式", "Paid with";
    wechat_number = "微信单号", "WeChat number";
    alipay_number = "支付宝交易号", "Alipay number";
    payments_by_v2 = "微信 V2 付款", "WeChat V2 payments";
    refunds_by_v2 = "微信 V2 退款", "WeChat V2 refunds";
    payments_by_v3 = "微信 V3 付款", "WeChat V3 payments";
    refunds_by_v3 = "微信 V3 退款", "WeChat V3 refunds";
    refunds_by_alipay = "支付宝退款", "Alipay refunds";
    payment_number = "支付单号", "Payment number";
    ordered_at = "下单时间", "Ordered";
    paid_at = "到账时间", "Credited";
    clock_note = "时间均为北京时间", "All times are Beijing time (UTC+8)";
    progress = "进度", "Progress";
    step_ordered = "下单", "Ordered";
    step_paid = "支付并入账", "Paid and credited";
    step_closed = "关闭", "Closed";
    step_refund(yuan) = "退款 ¥{yuan}", "Refund of ¥{yuan}";
    not_yet = "（未完成）", "(not yet)";

    refunds = "退款", "Refunds";
    refund_done = "已退款", "Refunded";
    refund_failed = "退款未成功，金额已恢复", "Not refunded; the amount is yours again";
    refund_under_way = "退款处理中", "Refund under way";
    refund_wechat = "原路退回微信支付：零钱约 5 分钟至 20 分钟，银行卡 1-3 个工作日",
        "It goes back through WeChat Pay: to the WeChat balance in about 5 to 20 minutes, to a bank card in 1 to 3 working days";
    refund_alipay = "原路退回支付宝，到账以支付宝的通知为准；银行卡可能需要几个工作日",
        "It goes back through Alipay, which tells you when it has arrived; a bank card may take some working days";
}
