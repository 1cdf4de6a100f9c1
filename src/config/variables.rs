//! Every variable this program reads, in the order `.env.example` lists them. A test holds the two together.

/// One environment variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    pub name: &'static str,
    /// May also be given as `NAME_FILE`, a path whose content is the value.
    pub secret: bool,
    /// The form that is accepted, for error messages.
    pub form: &'static str,
}

const fn plain(name: &'static str, form: &'static str) -> Variable {
    Variable { name, secret: false, form }
}

const fn secret(name: &'static str, form: &'static str) -> Variable {
    Variable { name, secret: true, form }
}

pub const VARIABLES: &[Variable] = &[
    secret(
        "DATABASE_URL",
        "sqlite:PATH, such as sqlite:data/shouyin.db, or postgres://USER:PASSWORD@HOST/DATABASE",
    ),
    plain("LISTEN", "an address and port, such as 127.0.0.1:8080"),
    plain(
        "PUBLIC_URL",
        "an https origin without path or query, such as https://pay.example.com (http only for loopback)",
    ),
    secret("SECRET_KEY", "at least 32 random characters, such as the output of: openssl rand -hex 32"),
    plain("TRUSTED_PROXIES", "a comma list of networks, such as 10.0.0.0/8,127.0.0.1/32"),
    plain(
        "WECHAT_APPID",
        "the appid of your service account, letters and digits, such as wx2421b1c4370ec43b",
    ),
    secret("WECHAT_APP_SECRET", "the app secret of the same account, at least 16 letters and digits"),
    plain("WECHAT_MINI_APPID", "the appid of your mini program, letters and digits"),
    secret("WECHAT_MINI_APP_SECRET", "the app secret of your mini program, at least 16 letters and digits"),
    plain("WECHAT_APP_APPID", "the appid of your app at the open platform, letters and digits"),
    plain("WECHAT_MCH_ID", "your merchant number, digits only, such as 1900000109"),
    secret("WECHAT_API_KEY", "the API v2 key of the merchant platform: exactly 32 letters and digits"),
    secret("WECHAT_CERT_PEM", "the text of apiclient_cert.pem, or WECHAT_CERT_PEM_FILE with its path"),
    secret(
        "WECHAT_KEY_PEM",
        "the text of apiclient_key.pem, or WECHAT_KEY_PEM_FILE with its path: PKCS#8 or PKCS#1, not encrypted",
    ),
    secret("WECHAT_API_V3_KEY", "the APIv3 key of the merchant platform: exactly 32 characters"),
    secret(
        "WECHAT_MERCHANT_KEY_PEM",
        "the text of apiclient_key.pem, or WECHAT_MERCHANT_KEY_PEM_FILE with its path: RSA, not encrypted",
    ),
    plain("WECHAT_MERCHANT_CERT_SERIAL", "the serial number of the API certificate, in hex digits"),
    plain("WECHAT_PUBLIC_KEY_ID", "the id of WeChat Pay's public key: PUB_KEY_ID_ and digits"),
    secret("WECHAT_PUBLIC_KEY_PEM", "the text of pub_key.pem, or WECHAT_PUBLIC_KEY_PEM_FILE with its path"),
    secret(
        "WECHAT_PLATFORM_CERT_PEM",
        "the text of one or more platform certificates, or WECHAT_PLATFORM_CERT_PEM_FILE with its path",
    ),
    plain("WECHAT_SIGN_TYPE", "HMAC-SHA256 or MD5"),
    plain(
        "WECHAT_ACCEPT_SIGN_TYPES",
        "a comma list of HMAC-SHA256 and MD5, with WECHAT_SIGN_TYPE among them",
    ),
    plain("WECHAT_API_BASE", "a comma list of https origins, such as https://api.mch.weixin.qq.com"),
    plain("WECHAT_OAUTH_BASE", "one https origin that serves both /connect and /sns"),
    plain(
        "ALIPAY_APP_ID",
        "the number of your app at Alipay's open platform, digits only, such as 2021000122600001",
    ),
    plain("ALIPAY_SELLER_ID", "your Alipay merchant number (PID): 16 digits that begin with 2088"),
    secret(
        "ALIPAY_PRIVATE_KEY_PEM",
        "the private key of your app, RSA of 2048 bits, PEM or bare base64, or ALIPAY_PRIVATE_KEY_PEM_FILE with its path",
    ),
    secret(
        "ALIPAY_PUBLIC_KEY_PEM",
        "Alipay's public key for your app, not the app's own: PEM or bare base64, or ALIPAY_PUBLIC_KEY_PEM_FILE with its path",
    ),
    secret(
        "ALIPAY_APP_CERT_PEM",
        "the text of appCertPublicKey_….crt, or ALIPAY_APP_CERT_PEM_FILE with its path",
    ),
    secret(
        "ALIPAY_CERT_PEM",
        "the text of alipayCertPublicKey_RSA2.crt, or ALIPAY_CERT_PEM_FILE with its path",
    ),
    secret(
        "ALIPAY_ROOT_CERT_PEM",
        "the text of alipayRootCert.crt, or ALIPAY_ROOT_CERT_PEM_FILE with its path",
    ),
    plain("ALIPAY_GATEWAY", "an https address without query, such as https://openapi.alipay.com/gateway.do"),
    plain("CHANNELS", "a comma list of ways of paying, such as wechat_jsapi,wechat_native,alipay_qr"),
    plain("TOP_UP_MIN_FEN", "whole fen, 1 or more"),
    plain("TOP_UP_MAX_FEN", "whole fen, not less than TOP_UP_MIN_FEN, at most 100000000"),
    plain("TOP_UP_PRESETS_FEN", "a comma list of up to 12 amounts in fen, each within the limits"),
    plain("ORDER_EXPIRE_MINUTES", "minutes, 6 to 10080 (WeChat keeps an order payable for at most 7 days)"),
    plain("REFUND_SECOND_ADMIN_ABOVE_FEN", "whole fen; 0 makes every refund wait for a second administrator"),
    plain("LOG", "a filter, such as info or shouyin=debug,info"),
    plain("LOG_FORMAT", "pretty or json"),
];

/// A variable that begins like one of these is meant for us, so an unknown one is a mistake.
pub const PREFIXES: &[&str] = &["WECHAT_", "ALIPAY_", "TOP_UP_", "ORDER_EXPIRE", "REFUND_"];
