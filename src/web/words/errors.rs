//! What is said when something did not work: what is known, what is safe, what to do next.

super::words! {
    /// Before the id of the request, for support.
    code = "编号", "code";
    not_found = "没有找到", "Not found";
    not_found_text = "这个地址不存在，或不属于你。", "This address does not exist, or is not yours.";
    link_over = "链接不能再用", "This link works no more";
    set_up_over = "设置链接只能用一次，30 分钟内有效。重新启动 serve 会打印新的；已经有管理员时，请直接登录。",
        "A set-up link works once, within 30 minutes. Start serve again and it prints a new one; if there is an administrator, sign in.";
    invite_over = "邀请链接用过了、过期了，或已被撤回。请发出邀请的人再发一个；已经用它设置过密码时，请直接登录。",
        "This invitation was used, is too old or was withdrawn. Ask whoever sent it for another; if you have set your password with it, sign in.";
    forbidden = "请求没有被接受", "This was not accepted";
    forbidden_text = "页面可能已过期。没有任何改动，请返回并刷新后重试。",
        "The page may be out of date. Nothing was changed. Please go back, refresh and try again.";
    sign_in_first = "请先登录", "Please sign in first";
    sign_in_first_text = "登录后再继续，没有任何改动。", "Sign in to go on. Nothing was changed.";
    too_many = "操作太频繁", "Too many tries";
    too_many_text(secs) = "没有任何改动。请在 {secs} 秒后再试。", "Nothing was changed. Please try again in {secs} s.";
    bad_request = "请求无法识别", "We did not understand this";
    bad_request_text = "没有任何改动，请返回重试。", "Nothing was changed. Please go back and try again.";
    conflict = "无法这样操作", "This is not possible";
    unprocessable = "请检查填写的内容", "Please check what you entered";
    gateway_busy = "支付通道暂时没有回应", "The payment service does not answer";
    gateway_busy_text = "订单已保留。如果已经付过款，请勿重复支付，到账后会自动更新；否则请稍后用同一订单继续支付。",
        "Your order is kept. If you have paid already, do not pay again: it will be credited by itself. Otherwise go on with the same order a little later.";
    gateway_refuses_text = "收款设置需要商家检查，请联系客服。如果已经付过款，请勿重复支付，到账后会自动更新。",
        "The shop has to check its payment settings. Please contact it. If you have paid already, do not pay again: it will be credited by itself.";
    restart = "微信授权已失效", "WeChat's permission has expired";
    restart_text = "没有任何改动。请返回重新进入页面。", "Nothing was changed. Please go back and open the page again.";
    busy = "登录的人太多", "Too many people are signing in";
    busy_for_now = "没有任何改动，请几秒后再试。", "Nothing was changed. Please try again in a few seconds.";
    unavailable = "系统暂时无法处理", "We are not available for a moment";
    unavailable_text = "如果已经付款，款项是安全的，恢复后会自动入账，请勿重复支付。请稍后再试。",
        "If you have paid, your money is safe and will be credited by itself. Please do not pay again, and come back a little later.";
    missing_right = "你的角色没有这项权限", "Your role does not include this";
    internal = "系统出了问题", "Something went wrong here";
    internal_text = "如果已经付款，款项是安全的，请勿重复支付。请稍后再试。",
        "If you have paid, your money is safe. Please do not pay again, and try again later.";
    method = "不支持这种请求", "This does not work here";
    method_text = "这个地址不接受这种请求方法。", "This address does not take this kind of request.";
    too_big = "内容太大", "Too large";
    too_big_text = "发送的内容超过了上限，没有任何改动。", "What was sent is larger than the limit. Nothing was changed.";

    form_expired = "表单已失效，没有下单。请返回充值页重试。",
        "This form has expired and no order was made. Please go back to top-up and try again.";
    form_used = "这张表单已经用过，原订单仍然有效。请返回充值页重新选择金额。",
        "This form was used before, and its order still stands. Please go back to top-up and choose the amount again.";
    too_many_open = "未支付的订单太多了。请先支付或等待它们过期，再下新单。",
        "You have too many unpaid orders. Please pay them or let them expire before you make another.";
    frozen = "你的账户暂停充值，没有下单，也没有扣款。余额不受影响；已经付出的款项仍会正常入账。请联系客服了解原因。",
        "Top-ups of your account are stopped for now. No order was made and nothing was charged. Your balance stays, and what you have paid will still be credited. Please ask customer service why.";
    bad_result = "result 只能是 ok、cancel 或 fail。", "result is ok, cancel or fail.";
    who_pays = "还不知道付款人在小程序里是谁。请先把 wx.login 的 code 发给 /wechat/mini/login，再用同一个 intent 下单。",
        "It is not known who pays in the mini program. Send the code of wx.login to /wechat/mini/login first, then order again with the same intent.";
    order_over = "订单已过期或关闭。如果已经付款，到账后会自动更新，请勿重复支付；否则请重新下单。",
        "The order has expired or is closed. If you have paid, it will be credited by itself: do not pay again. Otherwise make a new order.";
    order_used_up = "这个订单尝试的次数太多，不能再付。如果已经付款，到账后会自动更新，请勿重复支付；否则请重新下单。",
        "There were too many attempts at this order. If you have paid, it will be credited by itself: do not pay again. Otherwise make a new order.";
    admins_bind_nothing = "管理员账号不绑定微信。没有任何改动；请用普通账号付款。",
        "Administrators are not bound to WeChat. Nothing was changed; please pay with an ordinary account.";
    wechat_bound = "这个微信已经属于另一个账号，或者这个账号已经绑定了另一个微信。没有任何改动。请用绑定过的微信或账号，或联系商家。",
        "This WeChat belongs to another account, or this account to another WeChat. Nothing was changed. Please use the WeChat or the account that belong together, or ask the shop.";
}
