//! The top-up form, and the ways to pay.

super::words! {
    top_up = "充值", "Top up";
    balance = "余额", "Balance";
    frozen_before = "另有", "Another";
    frozen_after = "正在退款，暂时冻结", "is being refunded and is on hold";
    choose_amount = "选择充值金额", "Choose an amount";
    other_amount = "其他金额", "Other amount";
    amount = "充值金额", "Amount";
    amount_hint(min, max) = "{min} – {max} 元，最多两位小数", "¥{min} – ¥{max}, two decimals at most";
    choose_way = "支付方式", "Pay with";
    top_up_now = "立即充值", "Top up";
    ordering = "正在下单…", "Creating your order…";
    usually_seconds = "到账一般只需几秒", "Usually credited within seconds";
    scan_wechat_after = "下单后会显示二维码，请用手机微信扫码付款。",
        "Next you will see a QR code. Scan it with WeChat on your phone.";
    scan_alipay_after = "下单后会显示二维码，请用手机支付宝扫码付款。",
        "Next you will see a QR code. Scan it with Alipay on your phone.";

    too_fine = "金额最多两位小数。", "An amount has two decimals at most.";
    too_large = "金额太大了。", "This amount is too large.";
    not_decimal = "请输入数字金额，例如 50 或 9.90。", "Please enter a number, such as 50 or 9.90.";
    amount_outside(min, max) = "单笔充值金额为 {min} 至 {max} 元。", "Please choose between ¥{min} and ¥{max}.";
    no_such_way = "没有这种支付方式，没有下单。", "There is no such way to pay. No order was made.";
    way_not_offered = "现在不支持这种支付方式，没有下单。请换一种。",
        "This way to pay is not offered now. No order was made. Please choose another.";
    way_not_here(name) = "这里不能用“{name}”。请换一种支付方式。",
        "{name} does not work in this browser. Please choose another way to pay.";

    wechat_pay = "微信支付", "WeChat Pay";
    alipay = "支付宝", "Alipay";
    wechat = "微信", "WeChat";
    /// One letter for a badge.
    wechat_letter = "微", "W";
    alipay_letter = "支", "A";
    wechat_mini = "微信支付 · 小程序", "WeChat Pay · mini program";
    wechat_native = "微信支付 · 扫码", "WeChat Pay · QR code";
    wechat_h5 = "微信支付 · 手机网页", "WeChat Pay · phone browser";
    wechat_app = "微信支付 · App", "WeChat Pay · app";
    alipay_qr = "支付宝 · 扫码", "Alipay · QR code";
    alipay_page = "支付宝 · 网页", "Alipay · web page";
    alipay_wap = "支付宝 · 手机网页", "Alipay · phone browser";

    hint_carried = "到手机微信里打开付款", "Open it in WeChat on your phone";
    hint_jsapi = "在微信里直接付款", "Pay right here in WeChat";
    hint_native = "用手机微信扫码付款", "Scan with WeChat on your phone";
    hint_h5 = "打开微信付款", "Opens WeChat";
    hint_alipay_qr = "用手机支付宝扫码付款", "Scan with Alipay on your phone";
    hint_alipay_page = "登录支付宝网页付款", "Sign in on Alipay's page";
    hint_alipay_wap = "打开支付宝付款", "Opens Alipay";
    hint_mini = "在小程序里付款", "Pay in the mini program";
    hint_app = "在 App 里付款", "Pay in the app";

    open_on_phone = "请用手机浏览器打开本页付款。", "To pay, open this page in the browser of a phone.";
    copy_to_phone_browser = "这里不能付款。请复制链接，在手机浏览器里打开。",
        "You cannot pay here. Copy the link and open it in your phone's browser.";
    copy_to_computer = "这里不能付款。请复制链接，在电脑的浏览器里打开。",
        "You cannot pay here. Copy the link and open it in a browser on a computer.";
    pay_in_mini = "请在商家的小程序里付款。", "Please pay in the shop's mini program.";
    pay_in_app = "请在商家的 App 里付款。", "Please pay in the shop's app.";
    no_way_at_all = "暂时没有可用的支付方式，请联系客服。",
        "There is no way to pay at the moment. Please contact the shop.";
}
