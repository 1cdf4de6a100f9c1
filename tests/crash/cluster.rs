//! Three PostgreSQL servers of a test's own: one takes writes, two follow it. Needs the programs of
//! PostgreSQL and nothing that runs already.

use crate::place::Folder;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, sql_query, sql_types::Text};
use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Nobody listens here.
const NOWHERE: u16 = 1;

/// What COMMIT waits for on the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commits {
    /// Until one of the two others has it on disk.
    WaitForAStandby,
    /// For its own disk only.
    WaitForNobody,
}

/// Its servers end with the value.
pub struct Cluster {
    folder: Folder,
    programs: PathBuf,
    /// Who runs the servers, if not us: they refuse to run as root.
    user: Option<(u32, u32)>,
    commits: Commits,
    nodes: Vec<Node>,
    primary: usize,
}

struct Node {
    port: u16,
    process: Option<Child>,
}

impl Cluster {
    /// `None`, and a word about it, where PostgreSQL is not installed.
    pub fn start(commits: Commits) -> Option<Cluster> {
        let Some(programs) = programs() else {
            println!("SKIPPED: no /usr/lib/postgresql/*/bin with initdb, pg_basebackup and postgres");
            return None;
        };
        // Another user has to reach it, and the folders above the build may be closed to others.
        let folder = Folder::within(&std::env::temp_dir(), "cluster");
        let user = (fs::metadata("/proc/self").unwrap().uid() == 0).then(postgres);
        if let Some((uid, gid)) = user {
            chown(&folder.0, Some(uid), Some(gid)).unwrap();
        }
        let listeners = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let node =
            |listener: &TcpListener| Node { port: listener.local_addr().unwrap().port(), process: None };
        let nodes = listeners.iter().map(node).collect();
        drop(listeners);
        let mut cluster = Cluster { folder, programs, user, commits, nodes, primary: 0 };
        cluster
            .run("initdb", &["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N", "-D", "n0"]);
        cluster.configure(0, None);
        cluster.launch(0);
        cluster.make_standby(1);
        cluster.make_standby(2);
        cluster.wait_for_standbys();
        Some(cluster)
    }

    /// As `DATABASE_URL` names all of them.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("postgres://postgres@{}/postgres", hosts.join(","))
    }

    /// Where the primary listens.
    #[cfg(feature = "postgres-tls")]
    pub fn port(&self) -> u16 {
        self.nodes[self.primary].port
    }

    /// From now on the primary is spoken to by TLS, or not at all.
    #[cfg(feature = "postgres-tls")]
    pub fn encrypt(&self, certificate: &str, key: &str) {
        use std::os::unix::fs::PermissionsExt;
        let data = self.data(self.primary);
        let keep = |name: &str, text: &str| {
            let path = data.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            if let Some((uid, gid)) = self.user {
                chown(&path, Some(uid), Some(gid)).unwrap();
            }
        };
        keep("server.crt", certificate);
        keep("server.key", key);
        keep("pg_hba.conf", "hostssl all all 127.0.0.1/32 trust\n");
        let settings = fs::read_to_string(data.join("postgresql.conf")).unwrap();
        keep("postgresql.conf", &format!("{settings}ssl = on\n"));
        self.reload(self.primary);
        self.wait(
            self.primary,
            "SELECT ssl::text AS value FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            "true",
        );
    }

    /// The machine of the primary is gone, with every process on it.
    pub fn kill_primary(&mut self) {
        self.kill(self.primary);
    }

    /// The machine of the primary hangs: its processes stand still, and its connections stay open.
    pub fn freeze_primary(&mut self) {
        self.signal(self.primary, "STOP");
    }

    /// And goes on.
    pub fn thaw_primary(&mut self) {
        self.signal(self.primary, "CONT");
    }

    /// It is given up, as whoever decides about it would: the standbys no longer look for it, and one takes over.
    pub fn replace_frozen(&mut self) {
        for node in self.standbys() {
            self.configure(node, Some(NOWHERE));
            self.reload(node);
        }
        self.promote();
    }

    /// The machine that hung is taken away.
    pub fn bury_frozen(&mut self, node: usize) {
        assert_ne!(node, self.primary);
        self.kill(node);
    }

    pub const fn primary(&self) -> usize {
        self.primary
    }

    /// The standby that received most becomes the primary, the other one follows it.
    pub fn promote(&mut self) {
        let standbys = self.standbys();
        for node in standbys {
            // What is still on its way is received first.
            self.wait(node, "SELECT count(*)::text AS value FROM pg_stat_wal_receiver", "0");
        }
        let [first, second] = standbys.map(|node| self.received(node));
        let (best, other) = match first >= second {
            true => (standbys[0], standbys[1]),
            false => (standbys[1], standbys[0]),
        };
        assert_eq!(self.ask(best, "SELECT pg_promote(true, 60)::text AS value").unwrap(), "true");
        self.configure(other, Some(self.nodes[best].port));
        self.reload(other);
        self.primary = best;
    }

    /// The machine that was lost is back, empty, and follows the primary.
    pub fn replace_lost(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].process.is_none() {
                fs::remove_dir_all(self.data(node)).unwrap();
                self.make_standby(node);
            }
        }
        self.wait_for_standbys();
    }

    /// Nothing of what the primary writes from now on reaches the standbys.
    pub fn cut_off_standbys(&self) {
        for node in self.standbys() {
            self.configure(node, Some(NOWHERE));
            self.reload(node);
        }
        self.wait(self.primary, "SELECT count(*)::text AS value FROM pg_stat_replication", "0");
    }

    fn standbys(&self) -> [usize; 2] {
        let primary = self.primary;
        [(primary + 1) % 3, (primary + 2) % 3]
    }

    /// Bytes of the log that a standby has on disk.
    fn received(&self, node: usize) -> u64 {
        let sql =
            "SELECT (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0')::text AS value";
        self.ask(node, sql).unwrap().parse().unwrap()
    }

    fn make_standby(&mut self, node: usize) {
        let from = self.nodes[self.primary].port;
        let (name, port) = (format!("n{node}"), from.to_string());
        let to = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-c", "fast", "-N", "-D", &name];
        self.run("pg_basebackup", &to);
        self.configure(node, Some(from));
        let signal = self.data(node).join("standby.signal");
        File::create(&signal).unwrap();
        if let Some((uid, gid)) = self.user {
            chown(&signal, Some(uid), Some(gid)).unwrap();
        }
        self.launch(node);
    }

    fn wait_for_standbys(&self) {
        let state = match self.commits {
            Commits::WaitForAStandby => "quorum",
            Commits::WaitForNobody => "async",
        };
        let sql = format!(
            "SELECT count(*)::text AS value FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = '{state}'"
        );
        self.wait(self.primary, &sql, "2");
    }

    /// What a node reads at start and when told to.
    fn configure(&self, node: usize, primary: Option<u16>) {
        let others: Vec<String> =
            (0..3).filter(|other| *other != node).map(|other| format!("n{other}")).collect();
        let wait_for = match self.commits {
            Commits::WaitForAStandby => format!("ANY 1 ({})", others.join(", ")),
            Commits::WaitForNobody => String::new(),
        };
        let follow = primary.map_or(String::new(), |port| {
            format!("host=127.0.0.1 port={port} user=postgres application_name=n{node}")
        });
        let port = self.nodes[node].port;
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nmax_connections = 50\n\
             shared_buffers = '32MB'\nfsync = on\nwal_keep_size = '512MB'\nwal_retrieve_retry_interval = '100ms'\n\
             synchronous_standby_names = '{wait_for}'\nprimary_conninfo = '{follow}'\n"
        );
        fs::write(self.data(node).join("postgresql.conf"), settings).unwrap();
    }

    fn reload(&self, node: usize) {
        assert_eq!(self.ask(node, "SELECT pg_reload_conf()::text AS value").unwrap(), "true");
    }

    fn launch(&mut self, node: usize) {
        let log = File::create(self.folder.0.join(format!("n{node}.log"))).unwrap();
        let process = self.program("postgres").args(["-D", &format!("n{node}")]).stderr(log).spawn().unwrap();
        self.nodes[node].process = Some(process);
        self.wait(node, "SELECT 'up' AS value", "up");
    }

    fn kill(&mut self, node: usize) {
        self.signal(node, "KILL");
        let Some(mut process) = self.nodes[node].process.take() else { return };
        // Whatever came of `sh`.
        process.kill().ok();
        process.wait().ok();
    }

    /// To all at once: the parent first, so that it cannot tidy up.
    fn signal(&self, node: usize, name: &str) {
        let Some(process) = &self.nodes[node].process else { return };
        let parent = process.id().to_string();
        let family: Vec<String> = std::iter::once(parent.clone()).chain(children(&parent)).collect();
        Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", family.join(" "))])
            .stderr(Stdio::null())
            .status()
            .ok();
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let done = self.program(program).args(arguments).stderr(Stdio::piped()).output().unwrap();
        assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(&self.folder.0).env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn data(&self, node: usize) -> PathBuf {
        self.folder.0.join(format!("n{node}"))
    }

    fn wait(&self, node: usize, sql: &str, wanted: &str) {
        let started = Instant::now();
        loop {
            let found = self.ask(node, sql);
            if found.as_deref() == Ok(wanted) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "n{node}: {sql}: {found:?} in {}", self.folder.0.display());
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn ask(&self, node: usize, sql: &str) -> Result<String, String> {
        #[derive(QueryableByName)]
        struct Answer {
            #[diesel(sql_type = Text)]
            value: String,
        }
        let url =
            format!("postgres://postgres@127.0.0.1:{}/postgres?connect_timeout=2", self.nodes[node].port);
        let mut server = PgConnection::establish(&url).map_err(|error| error.to_string())?;
        let answer: Answer = sql_query(sql).get_result(&mut server).map_err(|error| error.to_string())?;
        Ok(answer.value)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.kill(node));
    }
}

/// Of the newest version.
fn programs() -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let versions = installed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let folders =
        versions.map(|version| (version, Path::new("/usr/lib/postgresql").join(format!("{version}/bin"))));
    let complete = folders.filter(|(_, folder)| {
        ["initdb", "pg_basebackup", "postgres"].iter().all(|name| folder.join(name).is_file())
    });
    complete.max().map(|(_, folder)| folder)
}

/// The numbers of the user and group that Debian's package makes.
fn postgres() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("a user named postgres");
    let number = |field: usize| line.split(':').nth(field).unwrap().parse().unwrap();
    (number(2), number(3))
}

fn children(parent: &str) -> Vec<String> {
    let is_child = |process: &str| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // Behind the name, which may contain anything: the state, then the parent.
        let (_, rest) = stat.rsplit_once(") ")?;
        (rest.split(' ').nth(1)? == parent).then_some(())
    };
    let processes =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    processes.filter(|name| name.parse::<u32>().is_ok() && is_child(name).is_some()).collect()
}
