//! Replies that WeChat signs wrongly on purpose.

use super::*;

#[test]
fn a_probe_on_a_reply_is_named_and_so_is_nothing_else() {
    let gateway = gateway();
    let (native, refund) = (attempt(Channel::WechatNative), refund());
    for genuine in [reply(200, &transaction()), failure(404, "ORDER_NOT_EXIST"), reply(200, &refund_told())] {
        for (what, reply) in impostors(&genuine) {
            let heard = [
                gateway.prepaid(&reply, &native).unwrap_err(),
                gateway.trade(&reply, &native).unwrap_err(),
                gateway.closing(&reply, &native).unwrap_err(),
                gateway.refund_asked(&reply, &refund).unwrap_err(),
                gateway.refund_news(&reply, &refund).unwrap_err(),
                gateway.keys_told(&reply).unwrap_err(),
            ];
            let counted = heard.map(|untrusted| untrusted.counted("no_answer"));
            let wanted = if what == "a probe" { "sign_probe" } else { "no_answer" };
            assert_eq!(counted, [wanted; 6], "{what}");
        }
    }
}
