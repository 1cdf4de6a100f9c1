//! What stands around every page, and small words that many pages use.

super::words! {
    /// Of the `lang` attribute.
    tag = "zh-CN", "en";
    /// The other language's name, in that language.
    other_name = "English", "中文";
    product = "收银", "Shouyin";
    /// The one letter of the product's mark.
    seal = "收", "S";
    demo_note = "演示环境，不涉及真实资金", "Demo: no real money";
    display = "显示设置", "Display";
    into_care = "关怀模式", "Easy mode";
    out_of_care = "标准模式", "Standard mode";
    account_pages = "我的页面", "My pages";
    administration = "管理后台", "Admin";
    log_out = "退出", "Sign out";
    copy = "复制", "Copy";
    copied = "已复制", "Copied";
    copy_link = "复制链接", "Copy the link";
    order_number = "订单号", "Order number";
    home = "返回首页", "Back to the start";
    retry = "重试", "Try again";
    /// A moment, as people read it.
    beijing_time(at) = "北京时间 {at}", "{at} Beijing time";
}
