//! TLS to PostgreSQL, which needs the feature `postgres-tls`: who is let in, and who is not.

use crate::{
    cluster::{Cluster, Commits},
    place::Folder,
};
use diesel::{QueryableByName, RunQueryDsl, sql_query, sql_types::Text};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use shouyin::{
    config::Database,
    store::{Store, StoreError},
};
use std::{fs, path::Path};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

/// The version of TLS this connection has.
async fn spoken(store: &Store) -> Result<String, StoreError> {
    let sql = "SELECT COALESCE(version, 'none') AS version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    store.read(move |db| Ok(sql_query(sql).get_result::<Version>(db)?.version)).await
}

fn open(url: &str) -> Result<Store, String> {
    let database = Database::parse(url).map_err(|error| error.to_string())?;
    Store::open(&database).map_err(|error| error.to_string())
}

fn authority_file(folder: &Path, name: &str, authority: &Authority) -> String {
    let path = folder.join(name);
    fs::write(&path, authority.pem()).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn a_server_is_believed_by_its_certificate_and_name_and_one_that_wants_tls_is_not_reached_without() {
    let Some(cluster) = Cluster::start(Commits::WaitForNobody) else { return };
    let (ours, others) = (authority("ours"), authority("others"));
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
    cluster.encrypt(&certificate.pem(), &key.serialize_pem());
    let files = Folder::new("tls");
    let (ours, others) =
        (authority_file(&files.0, "ours.pem", &ours), authority_file(&files.0, "others.pem", &others));
    let url = |host: &str, options: &str| {
        format!("postgres://postgres@{host}:{}/postgres?{options}", cluster.port())
    };
    let verified = |root: &str| format!("sslmode=verify-full&sslrootcert={root}");

    let store = open(&url("127.0.0.1", &verified(&ours))).unwrap();
    assert_eq!(spoken(&store).await.unwrap(), "TLSv1.3");
    let not_known = open(&url("127.0.0.1", &verified(&others))).err().expect("another authority");
    assert!(not_known.contains("certificate verify failed"), "{not_known}");
    let not_named = open(&url("localhost", &verified(&ours))).err().expect("another name");
    assert!(not_named.contains("does not match host name \"localhost\""), "{not_named}");
    let plain = open(&url("127.0.0.1", "sslmode=disable")).err().expect("in plain text");
    assert!(plain.contains("no encryption"), "{plain}");
}
