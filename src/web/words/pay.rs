//! The payment page of one order, and the page to come back to.

super::words! {
    pay_title = "付款", "Pay";
    pay_by_wechat = "去微信支付", "Pay with WeChat";
    pay_before(at) = "请在 {at} 前完成支付", "Please pay before {at}";
    go_before(at) = "请在 {at} 之前去付款", "Please go and pay before {at}";
    left = "，还剩", " ·";
    /// Units of the time that is left: hours, minutes, seconds.
    units = "小时 分 秒", "h min s";
    needs_script = "请开启浏览器的 JavaScript，本页需要它来打开微信支付。",
        "Please switch on JavaScript: this page needs it to open WeChat Pay.";
    this_page_code = "本页地址的二维码，用手机微信扫一扫打开", "QR code of this page, to open in WeChat on a phone";
    scan_with_wechat = "请用手机微信扫一扫", "Scan with WeChat on your phone";
    send_link = "在手机上，请复制链接，发到微信里打开", "On this phone: copy the link, send it to yourself in WeChat, open it there";
    updates_itself = "付款后本页会自动更新", "This page updates itself once you have paid";
    pay_code(app) = "付款二维码，请用手机{app}扫一扫", "QR code for paying, to scan with {app} on a phone";
    scan_before = "请打开手机", "Scan with ";
    scan_after = "扫一扫", " on your phone";
    no_phone = "演示环境没有真的手机：", "The demo has no real phone: ";
    to_simulator = "到模拟器里付款", "pay in the simulator";
    go_and_pay(app) = "去{app}付款", "Go to {app}";
    in_the_app = "这笔订单正在商家的 App 或小程序里付款，请回到那里完成。付款后本页会自动更新。",
        "This order is being paid in the shop's app or mini program. Please finish it there: this page updates by itself.";
    busy_title = "支付通道繁忙", "The payment service is busy";
    busy_text = "订单已为你保留，请稍等几秒再试。如果已经付过款，请勿重复支付，到账后会自动更新。",
        "Your order is kept. Please try again in a few seconds. If you have paid already, do not pay again: it will be credited by itself.";
    kept_until(at) = "订单保留至 {at}", "Your order is kept until {at}";
    refused_title = "暂时无法支付", "Paying is not possible at the moment";
    refused_text = "请联系客服，并告知下面的订单号。如果已经付过款，请勿重复支付。",
        "Please contact the shop and name the order number below. If you have paid already, do not pay again.";
    to_top_up = "返回充值页", "Back to top-up";
    used_up_title = "这个订单不能再付", "This order cannot be paid any more";
    used_up_text = "尝试的次数太多了。如果已经付过款，请勿重复支付，到账后会自动更新；否则请重新下单。",
        "There were too many attempts. If you have paid already, do not pay again: it will be credited by itself. Otherwise please make a new order.";
    frozen_title = "你的账户暂停充值", "Top-ups of your account are stopped for now";
    frozen_text = "现在不能付款，余额不受影响。如果已经付过款，到账后会自动更新，请勿重复支付。请联系客服了解原因。",
        "You cannot pay now, and your balance stays as it is. If you have paid already, do not pay again: it will be credited by itself. Please ask customer service why.";
    order_anew = "重新下单", "Make a new order";
    code_expired = "二维码已过期", "This QR code has expired";
    renew_code = "刷新二维码", "Show a new code";
    link_expired = "付款链接已过期", "This link has expired";
    renew = "刷新", "Refresh";
    waiting_for_payment = "等待付款，付款后自动更新", "Waiting for your payment. This page updates itself";
    nothing_happened = "已付款，但本页没有变化？", "You have paid and nothing happens here? ";
    ask_result = "查询结果", "Check now";
    opening = "正在打开微信支付…", "Opening WeChat Pay…";
    no_sheet = "没有弹出支付？", "Nothing opened? ";
    open_again = "重新拉起", "Open it again";
    no_bridge = "微信支付还没有响应，没有扣款。请再试一次，或关闭本页后从公众号重新打开。",
        "WeChat Pay has not answered and nothing was charged. Please try again, or close this page and come back from the official account.";
    confirming = "正在确认支付结果", "Checking the payment";
    confirming_text = "通常只需几秒，请不要重复支付", "Usually a few seconds. Please do not pay again.";
    still_waiting = "仍在等待微信通知，已向微信查询", "Still waiting for WeChat. We have asked it, too.";
    may_close = "你可以关闭本页，到账后会更新充值记录", "You may close this page. Your records will show it.";
    unknown = "结果确认中", "Still checking";
    unknown_wechat = "微信还没有返回结果。你的钱是安全的：如果已扣款，会在几分钟内入账。",
        "WeChat has not told us yet. Your money is safe: if it was charged, it will be credited within minutes.";
    unknown_any = "支付平台还没有返回结果。你的钱是安全的：如果已扣款，会在几分钟内入账。",
        "The payment service has not told us yet. Your money is safe: if it was charged, it will be credited within minutes.";
    do_not_pay_again = "请勿重复支付", "Please do not pay again";
    see_records = "查看充值记录", "See my records";
    ask_again = "再查一次", "Check again";
    not_paid = "支付未完成", "Not paid";
    not_paid_text(at) = "订单保留至 {at}，可以继续支付", "Your order is kept until {at}. You can go on paying.";
    go_on_paying(yuan) = "继续支付 ¥{yuan}", "Continue to pay ¥{yuan}";
    change_amount = "换个金额", "Another amount";
    other_ways = "换一种方式", "Pay another way";

    back_text = "已经付款的，通常只需几秒，请不要重复支付", "If you have paid, this takes a few seconds. Please do not pay again.";
    back_late = "还没有收到结果，正在继续查询", "No result yet. We keep asking.";
    i_have_paid = "已完成支付", "I have paid";
    i_have_not_paid = "没有付款，重新支付", "I have not paid: pay now";
    no_script_back = "本页不会自己更新，请点“已完成支付”再查一次。",
        "This page does not update itself. Tap the first button to check again.";
}
