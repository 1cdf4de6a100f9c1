//! Where the books of one test are: a file in a folder, or a schema of the server that
//! `SHOUYIN_TEST_POSTGRES` names. And how books are copied there.

use crate::database;
use diesel::{
    Connection, PgConnection, QueryableByName, RunQueryDsl, sql_query,
    sql_types::{Bool, Text},
};
use shouyin::{config::Database, store::Store};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Books that outlive the processes that serve them, and the folder these processes run in.
pub struct Place {
    pub folder: Folder,
    pub database: Database,
    /// What has to go with them.
    _schema: Option<Schema>,
}

impl Place {
    pub fn file(name: &str) -> Place {
        let folder = Folder::new(name);
        let database = database::file(&folder.0);
        Place { folder, database, _schema: None }
    }

    /// `None` without a server.
    pub fn on_server(name: &str) -> Option<Place> {
        let database = database::on_server(&database::server()?);
        let schema = Some(Schema(database.clone()));
        Some(Place { folder: Folder::new(name), database, _schema: schema })
    }

    /// Books in a database that goes when its server does.
    pub fn in_database(name: &str, url: &str) -> Place {
        Place { folder: Folder::new(name), database: Database::parse(url).unwrap(), _schema: None }
    }

    /// As `DATABASE_URL` names them.
    pub fn url(&self) -> String {
        match &self.database {
            Database::Sqlite(path) => format!("sqlite:{}", path.display()),
            Database::Postgres(url) => url.with(&[]),
        }
    }
}

struct Schema(Database);

impl Drop for Schema {
    fn drop(&mut self) {
        if !thread::panicking() {
            database::forget(&self.0);
        }
    }
}

/// Books to copy, kept in memory.
pub enum Template {
    /// A file of SQLite.
    File(Vec<u8>),
    /// The rows of every table of a schema.
    Rows(Vec<Table>),
}

/// All its rows as one JSON text.
#[derive(QueryableByName)]
pub struct Table {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    numbered: bool,
    #[diesel(sql_type = Text)]
    rows: String,
}

impl Template {
    /// Of books that nobody writes.
    pub fn of(place: &Place) -> Template {
        match &place.database {
            Database::Sqlite(path) => Template::File(fs::read(path).unwrap()),
            Database::Postgres(url) => {
                let mut server = PgConnection::establish(&url.with(&[])).unwrap();
                // In the order in which they were made, so that what a row refers to comes before it.
                let tables = sql_query(
                    "SELECT c.relname::text AS name, pg_temp.json_agg_of(c.oid::regclass) AS rows,
                        EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attidentity <> '')
                            AS numbered
                     FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
                        AND c.relname NOT LIKE '\\_\\_diesel%' ORDER BY c.oid",
                );
                let helper =
                    "CREATE FUNCTION pg_temp.json_agg_of(t regclass) RETURNS text LANGUAGE plpgsql AS $$
                    DECLARE rows text;
                    BEGIN
                        EXECUTE format('SELECT coalesce(json_agg(t), ''[]'')::text FROM %s t', t) INTO rows;
                        RETURN rows;
                    END $$";
                sql_query(helper).execute(&mut server).unwrap();
                let tables: Vec<Table> = tables.load(&mut server).unwrap();
                Template::Rows(tables)
            }
        }
    }

    pub fn copy(&self, name: &str) -> Place {
        match self {
            Template::File(bytes) => {
                let place = Place::file(name);
                fs::write(place.database.file().unwrap(), bytes).unwrap();
                place
            }
            Template::Rows(tables) => {
                let place = Place::on_server(name).unwrap();
                drop(Store::open(&place.database).unwrap());
                let mut server = PgConnection::establish(&place.url()).unwrap();
                server.transaction(|server| tables.iter().try_for_each(|table| table.fill(server))).unwrap();
                place
            }
        }
    }
}

impl Table {
    fn fill(&self, server: &mut PgConnection) -> diesel::QueryResult<()> {
        let name = &self.name;
        // A migration may have written a row already.
        let insert = format!(
            "INSERT INTO {name} SELECT * FROM json_populate_recordset(NULL::{name}, $1::json) ON CONFLICT DO NOTHING"
        );
        sql_query(insert).bind::<Text, _>(&self.rows).execute(server)?;
        if self.numbered {
            let next = format!("SELECT setval(pg_get_serial_sequence('{name}', 'id'), MAX(id)) FROM {name}");
            sql_query(next).execute(server)?;
        }
        Ok(())
    }
}

/// A folder of its own, gone with the value; kept when the test fails.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        Folder::within(Path::new(env!("CARGO_TARGET_TMPDIR")), name)
    }

    pub fn within(parent: &Path, name: &str) -> Folder {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("crash-{}-{number}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !thread::panicking() {
            fs::remove_dir_all(&self.0).ok();
        }
    }
}
