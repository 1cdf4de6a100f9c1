//! Signing in, registering, and the first administrator.

super::words! {
    log_in = "登录", "Sign in";
    wechat_login = "微信登录", "Sign in with WeChat";
    wechat_unknown = "这个微信还没有账号。请注册一个，或用密码登录。",
        "This WeChat has no account yet. Please register, or sign in with your password.";
    or_by_password = "或使用密码", "or with your password";
    username = "用户名", "User name";
    password = "密码", "Password";
    no_account = "还没有账号？", "No account yet? ";
    register = "注册", "Register";
    register_title = "注册账号", "Create your account";
    register_and_go_on = "注册并登录", "Register and sign in";
    has_account = "已有账号？", "Already registered? ";
    password_hint = "至少 8 个字符", "At least 8 characters";
    wrong_login = "用户名或密码不正确。", "The user name or the password is not right.";

    set_up_title = "初次设置", "First set-up";
    create_admin = "创建管理员", "Create the administrator";
    set_up_hint = "这是第一个管理员账号。链接只能用一次，30 分钟内有效。",
        "This is the first administrator's account. The link works once, within 30 minutes.";
    set_up_password_hint = "至少 8 个字符，请与其他网站不同",
        "At least 8 characters, and not one you use elsewhere";
    create_and_enter = "创建并进入后台", "Create and go to the admin pages";

    bad_name = "用户名需为 2 至 32 个字母、数字、汉字或 _ . - @。",
        "A user name has 2 to 32 letters, digits, Chinese characters or _ . - @.";
    name_taken = "这个用户名已被使用，请换一个。", "This user name is taken. Please choose another.";
    password_too_short = "密码至少需要 8 个字符。", "A password needs at least 8 characters.";
    password_too_long = "密码太长了，请缩短一些。", "This password is too long. Please shorten it.";
    password_too_common = "这个密码太常见，很容易被猜到，请换一个。",
        "This password is easy to guess. Please choose another.";
}
