//! "现在查一次": what every gateway says at this moment, on the page of diagnostics.

use super::diagnostics::{self, Fact, fact};
use crate::{
    flow::self_test::{self, Said, Tested},
    web::{
        Web, csrf,
        error::WebError,
        log_in::TokenForm,
        rights::{Diagnostics, May},
    },
};
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Form},
};
use std::sync::Arc;

/// POST /admin/diagnostics/gateways. The answer is the page itself: it holds what was said now and is kept nowhere.
///
/// # Errors
/// 429 within a minute of the last one; the books.
pub async fn run(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Diagnostics>,
    form: Form<TokenForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    web.limits.self_test(&web.app).await?;
    let tested = self_test::run(&web.app, &admin.user).await?;
    diagnostics::answer(&web, &admin, tested.iter().map(told).collect()).await
}

fn told(tested: &Tested) -> Fact {
    let ms = tested.took_ms;
    let (text, tone) = match &tested.said {
        Said::NoSuchOrder => (format!("有答复，签名正确，{ms} 毫秒"), "ok"),
        Said::Else(word) => (format!("有答复，签名正确，但没有照常回答：{}，{ms} 毫秒", short(word)), "warn"),
        Said::Refused(why) => (
            format!(
                "连上了，但被拒绝或答复不可信：{}，{ms} 毫秒。请核对商户号、appid、密钥和证书",
                short(why)
            ),
            "bad",
        ),
        Said::NotReached(why) => {
            (format!("没有连上：{}，{ms} 毫秒。请检查服务器的网络和域名解析", short(why)), "bad")
        }
    };
    fact(tested.protocol.as_str(), text, tone)
}

/// What others say is as long as they like.
fn short(text: &str) -> String {
    text.chars().take(120).collect()
}
