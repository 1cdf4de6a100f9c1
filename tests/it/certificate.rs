//! The merchant's certificate over real TLS: the program as a process of its own, WeChat behind a server that reads
//! client certificates, and an authority made for the test, which the process trusts through `SSL_CERT_FILE`.

use crate::{
    attacks::child::{GOOD, Server},
    harness::{Shop, answered},
    refunds::reserved,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use shouyin::{
    config::Database,
    domain::{
        order::Environment,
        refund::{Refund, RefundState},
    },
    gateway::wechat_v2::ApiKey,
    simulator::Simulator,
    store::{Store, refunds},
};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(30);

static GREETINGS: AtomicU64 = AtomicU64::new(0);

/// A certificate and its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

/// Who signs certificates for the test.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority { pem: params.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    fn signs(&self, name: &str) -> Pair {
        self.signs_these(CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    fn signs_these(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// What a server shows that is not WeChat.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    OfAStranger,
    OfAnotherHost,
    Expired,
    SelfSigned,
}

impl Shown {
    /// All the rest is as WeChat's would be.
    fn by(self, authority: &Authority) -> Pair {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        match self {
            Shown::OfAStranger => Authority::new().signs_these(params),
            Shown::OfAnotherHost => authority.signs("other.test"),
            Shown::Expired => {
                params.not_before = rcgen::date_time_ymd(2020, 1, 1);
                params.not_after = rcgen::date_time_ymd(2021, 1, 1);
                authority.signs_these(params)
            }
            Shown::SelfSigned => {
                let key = KeyPair::generate().unwrap();
                Pair { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
            }
        }
    }

    /// What the program says of it.
    const fn fault(self) -> &'static str {
        match self {
            // They call themselves what the authority is called.
            Shown::OfAStranger | Shown::SelfSigned => "BadSignature",
            Shown::OfAnotherHost => "not valid for name",
            Shown::Expired => "certificate expired",
        }
    }
}

/// What a TLS server in front of the simulated WeChat saw: `Err` of a handshake that came to nothing, or the path of
/// a request and whether a certificate was shown.
type Seen = Arc<Mutex<Vec<Result<(String, bool), String>>>>;

/// WeChat over TLS: it asks for a client certificate everywhere and insists on one below /secapi.
struct Front {
    origin: String,
    seen: Seen,
}

impl Front {
    fn start(simulator: &Simulator, own: &Pair, clients: &Authority) -> Front {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(clients.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let origin = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (seen, config) = (Seen::default(), Arc::new(config));
        let (notes, simulator) = (seen.clone(), simulator.clone());
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (notes, simulator, config) = (notes.clone(), simulator.clone(), config.clone());
                std::thread::spawn(move || {
                    let outcome = serve(stream.unwrap(), config, &simulator, &notes);
                    if let Err(error) = outcome {
                        notes.lock().unwrap().push(Err(error.to_string()));
                    }
                });
            }
        });
        Front { origin, seen }
    }

    fn seen(&self) -> Vec<Result<(String, bool), String>> {
        self.seen.lock().unwrap().clone()
    }
}

/// One request of one connection.
fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    simulator: &Simulator,
    notes: &Seen,
) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    while line.trim_end() != "" {
        line.clear();
        stream.read_line(&mut line)?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let mut stream = stream.into_inner();
    let shown = stream.conn.peer_certificates().is_some();
    notes.lock().unwrap().push(Ok((path.clone(), shown)));
    let (status, reply) = if path.starts_with("/secapi/") && !shown {
        ("400 Bad Request", "No required SSL certificate was sent".to_owned())
    } else {
        ("200 OK", answered(simulator, &path, &body).unwrap_or_default())
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", reply.len());
    stream.write_all(format!("{head}{reply}").as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// A shop with a refund that was written before a crash, in books another process can open.
struct Stage {
    shop: Shop,
    refund: Refund,
    folder: PathBuf,
    authority: Authority,
}

impl Stage {
    async fn set(name: &str) -> Stage {
        let folder = std::env::temp_dir().join(format!("shouyin-certificate-{}-{name}", std::process::id()));
        fs::create_dir_all(folder.join("first")).unwrap();
        let books = folder.join("first/books.db");
        let shop = Shop::open_with(|config| {
            config.database = Database::Sqlite(books.clone());
            let good = |name: &str| GOOD.iter().find(|(known, _)| *known == name).unwrap().1;
            config.wechat_v2.as_mut().unwrap().appids.web = good("WECHAT_APPID").to_owned();
            config.wechat_v2.as_mut().unwrap().mch_id = good("WECHAT_MCH_ID").to_owned();
            config.wechat_v2.as_mut().unwrap().key = ApiKey::new(good("WECHAT_API_KEY")).unwrap();
            config.wechat_v2.as_mut().unwrap().environment = Environment::Live;
            config.environment = Environment::Live;
            config.wechat_login.as_mut().unwrap().appid = good("WECHAT_APPID").to_owned();
        })
        .await;
        let number = shop.paid("ann", "50").await;
        let refund = reserved(&shop, &number).await;
        // Nobody writes now, so the file and its log are one state.
        fs::copy(&books, folder.join("books.db")).unwrap();
        fs::copy(format!("{}-wal", books.display()), folder.join("books.db-wal")).unwrap();
        Stage { shop, refund, folder, authority: Authority::new() }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// `serve` on the copied books, with this WeChat and, if any, this certificate.
    async fn serve(&self, front: &Front, client: Option<&Pair>) -> Server {
        let trusted = self.file("trusted.pem", &self.authority.pem);
        let books = format!("sqlite:{}", self.folder.join("books.db").display());
        let mut variables = vec![
            ("SSL_CERT_FILE", trusted),
            ("DATABASE_URL", books),
            ("WECHAT_API_BASE", front.origin.clone()),
        ];
        if let Some(client) = client {
            variables.push(("WECHAT_CERT_PEM_FILE", self.file("cert.pem", &client.certificate)));
            variables.push(("WECHAT_KEY_PEM_FILE", self.file("key.pem", &client.key)));
        }
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Server::start(&variables).await
    }

    /// How the refund stands in the books of the process, once it is gone.
    async fn ended(&self, mut server: Server) -> Refund {
        server.crash();
        let store = Store::open(&Database::Sqlite(self.folder.join("books.db"))).unwrap();
        let id = self.refund.id;
        store.read(move |db| refunds::by_id(db, id)).await.unwrap().unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        fs::remove_dir_all(Path::new(&self.folder)).ok();
    }
}

/// Waits for what another process does in its own time.
async fn until(what: &str, server: &Server, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what} never came: {}", server.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const REFUSED: &str = "was not accepted";

#[actix_web::test]
async fn a_refund_shows_the_certificate_and_no_other_call_does() {
    let stage = Stage::set("shown").await;
    let front = Front::start(&stage.shop.simulator, &stage.authority.signs("localhost"), &stage.authority);
    let server = stage.serve(&front, Some(&stage.authority.signs("merchant"))).await;
    let asked = Ok(("/secapi/pay/refund".to_owned(), true));
    until("the refund", &server, || front.seen().contains(&asked)).await;
    stage.shop.clock.advance_ms(20_000);
    let number = stage.refund.out_refund_no.as_str();
    let queried = Ok(("/pay/refundquery".to_owned(), false));
    let hint = stage.shop.simulator.refund_notify(number, &[], &[]);
    // A hint that comes before the reply to the request is written hurries nothing, so it is repeated.
    let started = Instant::now();
    while !front.seen().contains(&queried) {
        assert!(started.elapsed() < PATIENCE, "no query: {}", server.said());
        server.notify_refund(hint.clone()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until("the end", &server, || server.said().contains("is success")).await;
    let said = server.said();
    assert!(!said.contains("PRIVATE KEY"), "{said}");
    assert_eq!(stage.ended(server).await.state, RefundState::Success);
    assert_eq!(stage.shop.simulator.refunded_total_fen(), 5000);
    // Yesterday's bill is fetched as well, like everything but refunds without showing it.
    let billed = Ok(("/pay/downloadbill".to_owned(), false));
    let known = [asked, queried, billed];
    // The end of the process may have broken off a handshake.
    assert!(front.seen().iter().all(|seen| seen.is_err() || known.contains(seen)), "{:?}", front.seen());
}

#[actix_web::test]
async fn without_a_certificate_no_refund_leaves_the_house() {
    let stage = Stage::set("none").await;
    let front = Front::start(&stage.shop.simulator, &stage.authority.signs("localhost"), &stage.authority);
    let server = stage.serve(&front, None).await;
    until("the refusal", &server, || server.said().contains(REFUSED)).await;
    assert!(server.said().contains("nothing was sent"), "{}", server.said());
    let refund = stage.ended(server).await;
    assert_eq!((refund.state, refund.refused_at), (RefundState::Asking, None));
    // Yesterday's bill takes no certificate; ending the process may have broken off its handshake.
    let billed = ("/pay/downloadbill".to_owned(), false);
    let others: Vec<_> = front.seen().into_iter().flatten().filter(|seen| *seen != billed).collect();
    assert_eq!(others, []);
}

/// A refund is to go out, and this is shown: it ends at the greeting, no money moves, and its outcome stays unknown.
pub async fn ends_at_the_greeting(shown: Shown) {
    // More than one test may be at it.
    let number = GREETINGS.fetch_add(1, Ordering::Relaxed);
    let stage = Stage::set(&format!("greeting-{number}")).await;
    let front = Front::start(&stage.shop.simulator, &shown.by(&stage.authority), &stage.authority);
    let server = stage.serve(&front, Some(&stage.authority.signs("merchant"))).await;
    until("the refusal", &server, || server.said().contains(REFUSED)).await;
    let said = server.said();
    assert!(said.contains("cannot connect") && said.contains(shown.fault()), "{shown:?}: {said}");
    let refund = stage.ended(server).await;
    assert_eq!((refund.state, refund.refused_at), (RefundState::Asking, None), "{shown:?}");
    let seen = front.seen();
    assert!(!seen.is_empty() && seen.iter().all(Result::is_err), "{shown:?}: {seen:?}");
    assert_eq!(stage.shop.simulator.refunds(), []);
}

#[actix_web::test]
async fn a_server_that_is_not_wechat_learns_and_concludes_nothing() {
    for shown in [Shown::OfAStranger, Shown::OfAnotherHost] {
        ends_at_the_greeting(shown).await;
    }
}

#[actix_web::test]
async fn half_a_pair_or_two_halves_of_different_pairs_refuse_to_start() {
    let authority = Authority::new();
    let (one, two) = (authority.signs("one"), authority.signs("two"));
    for (variables, named) in [
        (vec![("WECHAT_CERT_PEM", one.certificate.as_str())], "WECHAT_KEY_PEM"),
        (vec![("WECHAT_KEY_PEM", one.key.as_str())], "WECHAT_CERT_PEM"),
        (vec![("WECHAT_CERT_PEM", &one.certificate), ("WECHAT_KEY_PEM", &two.key)], "WECHAT_KEY_PEM"),
        (vec![("WECHAT_CERT_PEM", "not PEM"), ("WECHAT_KEY_PEM", &one.key)], "WECHAT_CERT_PEM"),
    ] {
        let (status, listened, said) = Server::refused(&variables, PATIENCE);
        assert!(status.is_some_and(|status| !status.success()) && !listened, "{said}");
        assert!(said.contains(&format!("  {named}: ")) && !said.contains("PRIVATE KEY"), "{said}");
    }
}
