//! Who may ask, how much, and that nobody changes anything.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tips_e2e::query::{Query, USER, binary};
use tips_e2e::tls::Certificates;
use tips_e2e::wait::until;
use tips_e2e::worker::{Data, Pipeline, metric};
use tips_e2e::{Folder, Servers, cache, scenario};

const PATIENCE: Duration = Duration::from_secs(120);
/// Takes long and needs nothing of the pipeline.
const LONG: &str = "SELECT count(*) FROM generate_series(1, 100000000000) WHERE value % 7 = 3";

fn filled<'a>(folder: &'a Folder, servers: &Servers<'a>) -> Result<Pipeline<'a>> {
    let data = Data::generate(folder, &["--seed", "51", "--rate", "6", "--span", "3h"])?;
    data.produce(&servers.kafka, "limits")?;
    let mut pipeline = servers.pipeline("limits", &["raw: {flushInterval: 1s}"])?;
    pipeline.catch_up(1, PATIENCE)?;
    Ok(pipeline)
}

fn says(query: &Query, sql: &str, text: &str) -> Result<()> {
    let said = query.psql(sql)?;
    ensure!(said.contains(text), "{sql}: {said:?} does not say {text:?}");
    Ok(())
}

#[test]
fn it_takes_a_password_and_encryption_or_says_what_to_give() {
    scenario("query-login", |folder| {
        let servers = Servers::start(folder)?;
        let pipeline = servers.pipeline("login", &[])?;
        let refuses = |more: &[&str], code: i32, text: &str| -> Result<()> {
            let mut command = Command::new(binary()?);
            command.arg("-f").arg(pipeline.manifest()).args(["--postgres", "127.0.0.1:0"]);
            command.args(["--listen", "127.0.0.1:0"]).args(more).envs(pipeline.environment());
            let output = command.output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(
                output.status.code() == Some(code) && said.contains(text),
                "{more:?}: {}, {said}",
                output.status
            );
            Ok(())
        };
        refuses(&[], 2, "set TIPS_QUERY_USERS to a folder with a file a user")?;
        refuses(&["--no-auth"], 2, "set TIPS_QUERY_TLS_CERT and TIPS_QUERY_TLS_KEY")?;
        let users = folder.dir("users")?;
        let users_flag = ["--no-tls", "--users", users.to_str().context("a path")?];
        refuses(&users_flag, 1, "it has no user: write a file with the user's name")?;
        std::fs::write(users.join(USER), "s3cret\n")?;

        let made = Certificates::create(folder, "query-tls")?;
        let [users, chain, key, ca] =
            [users.clone(), made.certificate(), made.key(), made.ca()].map(|path| path.display().to_string());
        let flags = ["--users", &users, "--tls-cert", &chain, "--tls-key", &key];
        let verified = format!("sslmode=verify-full sslrootcert={ca}");
        let log = folder.path().join("query.log");
        let query = Query::start(&pipeline, &log, &flags, &verified, Some("s3cret"))?;
        ensure!(query.value("SELECT 1")? == "1", "a known user");
        let psql = |options: &str, password: &str| -> Result<String> {
            let to = format!("host=127.0.0.1 port={} dbname=tipstream {options}", query.port());
            let mut command = Command::new(cache::program("psql")?);
            command.args(["--no-psqlrc", "--no-password", "-Atc", "SELECT 1"]).arg(to);
            let output = command.env("PGPASSWORD", password).output()?;
            Ok(String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned())
        };
        let refused = |options: &str, password: &str, text: &str| -> Result<()> {
            let said = psql(options, password)?;
            ensure!(said.contains(text) && !said.starts_with('1'), "{options}: {said}");
            Ok(())
        };
        refused(&format!("user={USER} {verified}"), "wrong", "authentication failed")?;
        refused(&format!("user=bob {verified}"), "s3cret", "authentication failed")?;
        refused(&format!("user={USER} sslmode=disable"), "s3cret", "encrypted connections only")?;
        ensure!(metric(&query.process, "tipstream_query_logins_refused_total")? == 2.0, "two logins failed");
        ensure!(asks_in_the_clear(query.port())?.contains("encrypted connections only"), "not told why");
        std::fs::write(format!("{users}/{USER}"), "changed")?;
        let said = psql(&format!("user={USER} {verified}"), "changed")?;
        ensure!(said.trim() == "1", "the new password: {said}");
        Ok(())
    });
}

/// A connection of somebody, without encryption.
fn connect(port: u16) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let startup = [&196_608_u32.to_be_bytes()[..], b"user\0ana\0database\0tipstream\0\0"].concat();
    socket.write_all(&[&(startup.len() as u32 + 4).to_be_bytes()[..], &startup].concat())?;
    Ok(socket)
}

/// Somebody who does not mind being turned away, and asks: what is answered until the connection is closed.
fn asks_in_the_clear(port: u16) -> Result<String> {
    let mut socket = connect(port)?;
    let sql = b"SELECT 'an answer'\0";
    let query = [&b"Q"[..], &(sql.len() as u32 + 4).to_be_bytes(), sql].concat();
    socket.write_all(&query)?;
    let mut said = Vec::new();
    match socket.read_to_end(&mut said) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => {
            return Err(error).context("it stays open");
        }
        _ => {}
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(!said.contains("an answer"), "{said}");
    Ok(said)
}

/// `read_only_sql_transaction`, of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const READ_ONLY: &str = "25006";

/// A statement is refused with this SQLSTATE.
fn refused_with(query: &Query, sql: &str, wanted: &str) -> Result<()> {
    let output = query.psql_command(sql)?.args(["--set", "VERBOSITY=verbose"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let state = said.split("ERROR:  ").nth(1).and_then(|said| said.split(':').next());
    ensure!(state == Some(wanted), "{sql}: {said} in place of {wanted}");
    Ok(())
}

#[test]
fn nothing_can_be_changed() {
    scenario("query-readonly", |folder| {
        let servers = Servers::start(folder)?;
        let pipeline = servers.pipeline("readonly", &[])?;
        let query = Query::open(&pipeline, &folder.path().join("query.log"), &[])?;
        for sql in [
            "INSERT INTO tips SELECT * FROM tips",
            "DELETE FROM rides",
            "UPDATE tips SET trips = 0",
            "CREATE TABLE mine (n INT)",
            "CREATE TABLE mine AS SELECT 1",
            "CREATE VIEW mine AS SELECT 1",
            "SELECT 1 AS n INTO mine",
            "DROP TABLE tips",
            "COPY (SELECT 1) TO '/tmp/tips-query.csv'",
            "EXPLAIN ANALYZE INSERT INTO tips SELECT * FROM tips",
        ] {
            refused_with(&query, sql, READ_ONLY)?;
        }
        for (sql, state) in [
            ("CREATE EXTERNAL TABLE passwd STORED AS CSV LOCATION '/etc/passwd'", "42601"),
            ("SET datafusion.runtime.memory_limit = '100G'", "42501"),
            ("SET \"datafusion\".\"runtime\".\"memory_limit\" = '100G'", "42501"),
            ("SET TIME ZONE 'America/New_York'", "0A000"),
            ("SELECT repeat('x', 2000000000)", "42883"),
        ] {
            refused_with(&query, sql, state)?;
        }
        let fetched = query.psql("DECLARE c CURSOR FOR SELECT 1; FETCH 10000000000000 FROM c")?;
        ensure!(fetched.contains("at most 100000 rows"), "{fetched}");
        let sum = |terms: usize| format!("SELECT 1{}", "+1".repeat(terms));
        ensure!(query.value(&sum(1000))? == "1001", "a long sum");
        says(&query, &sum(50_000), "at most 1000 operators")?;
        ensure!(
            query.value("SELECT count(*) FROM pg_class WHERE relname = 'mine'")? == "0",
            "a table was made"
        );
        Ok(())
    });
}

#[test]
fn past_a_limit_a_query_ends_with_an_error_that_says_so_and_the_service_goes_on() {
    scenario("query-limits", |folder| {
        let servers = Servers::start(folder)?;
        let pipeline = filled(folder, &servers)?;
        let small = ["--memory", "16Mi", "--spill", "1Mi"];
        let query = Query::open(&pipeline, &folder.path().join("small.log"), &small)?;
        let wide = "SELECT count(*) FROM (SELECT DISTINCT a.ride_id, b.ride_id AS other, a.event_time FROM rides a, (SELECT ride_id FROM rides LIMIT 400) b)";
        says(&query, wide, "--memory")?;
        ensure!(query.value("SELECT count(*) > 0 FROM rides")? == "t", "it goes on");
        let peak = query.process.peak_mib().context("it has ended")?;
        ensure!(peak < 500.0, "{peak} MiB of memory for queries that may have 16");
        drop(query);

        let flags = ["--max-rows", "1000", "--query-timeout", "2s", "--max-connections", "2"];
        let query = Query::open(&pipeline, &folder.path().join("query.log"), &flags)?;
        says(&query, "SELECT ride_id FROM rides", "more than 1000 rows")?;
        says(&query, LONG, "took longer than 2s")?;
        ensure!(query.value("SELECT count(*) > 0 FROM rides")? == "t", "it goes on");
        let sleepers: Vec<_> =
            (0..2).map(|_| query.psql_command(LONG)?.spawn().context("psql")).collect::<Result<_>>()?;
        std::thread::sleep(Duration::from_millis(700));
        says(&query, "SELECT 1", "too many connections: 2 are open")?;
        for mut sleeper in sleepers {
            sleeper.wait()?;
        }
        let outcome = |name: &str| {
            metric(&query.process, &format!("tipstream_query_queries_total{{outcome=\"{name}\"}}"))
        };
        ensure!(outcome("rows")? == 1.0 && outcome("timeout")? == 3.0, "outcomes are counted");
        Ok(())
    });
}

/// A cursor that nobody reads on keeps its turn for as long as a query may take, and no longer.
#[test]
fn a_query_waits_for_its_turn_and_a_cursor_that_is_left_open_keeps_it_from_none() {
    scenario("query-turns", |folder| {
        let servers = Servers::start(folder)?;
        let pipeline = filled(folder, &servers)?;
        let flags = ["--max-queries", "1", "--query-timeout", "10s"];
        let query = Query::open(&pipeline, &folder.path().join("query.log"), &flags)?;
        let is = |name: &str, value: f64| {
            until(&format!("{name} {value}"), PATIENCE, || Ok(metric(&query.process, name)? == value))
        };
        let mut session = query.psql_interactive()?.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let mut statements = session.stdin.take().context("psql reads")?;
        writeln!(statements, "DECLARE c CURSOR FOR SELECT ride_id FROM rides; FETCH 1 FROM c;")?;
        is("tipstream_query_running", 1.0)?;
        let waiting = query.psql_command("SELECT count(*) > 0 FROM rides")?.stdout(Stdio::piped()).spawn()?;
        is("tipstream_query_waiting", 1.0)?;
        let answer = waiting.wait_with_output()?;
        ensure!(String::from_utf8_lossy(&answer.stdout).trim() == "t", "{answer:?}");
        is("tipstream_query_waiting", 0.0)?;

        drop(statements);
        session.wait()?;
        is("tipstream_query_running", 0.0)
    });
}

#[test]
fn a_query_is_cancelled_and_one_that_runs_at_the_end_may_finish() {
    scenario("query-cancel", |folder| {
        let servers = Servers::start(folder)?;
        let pipeline = filled(folder, &servers)?;
        let mut query = Query::open(
            &pipeline,
            &folder.path().join("query.log"),
            &["--drain-timeout", "5m", "--query-timeout", "10m", "--max-rows", "100000000"],
        )?;
        let said = query.client("cancel.py", &[LONG])?;
        ensure!(said.contains("canceling statement due to user request"), "{said}");
        let cancelled = metric(&query.process, "tipstream_query_queries_total{outcome=\"cancelled\"}")?;
        ensure!(cancelled == 2.0, "{cancelled} were cancelled");
        ensure!(metric(&query.process, "tipstream_query_running")? == 0.0, "it still runs");

        let last = "SELECT count(*) FROM generate_series(1, 1000000000) WHERE value % 7 = 3";
        let mut running = query.psql_command(last)?.stdout(Stdio::piped()).spawn()?;
        until("running", PATIENCE, || Ok(metric(&query.process, "tipstream_query_running")? != 0.0))?;
        let mut idle = connect(query.port())?;
        query.process.terminate()?;
        idle.read_to_end(&mut Vec::new()).context("who asks nothing stays connected")?;
        ensure!(running.try_wait()?.is_none(), "the query had ended before");
        let output = running.wait_with_output()?;
        ensure!(String::from_utf8_lossy(&output.stdout).trim() == "142857143", "{output:?}");
        let status = query.process.wait(PATIENCE)?.context("it does not end")?;
        ensure!(status.success(), "{status}");

        let impatient = ["--drain-timeout", "1s", "--query-timeout", "10m"];
        let mut query = Query::open(&pipeline, &folder.path().join("impatient.log"), &impatient)?;
        let mut running = query.psql_command(LONG)?.stderr(Stdio::piped()).spawn()?;
        until("running", PATIENCE, || Ok(metric(&query.process, "tipstream_query_running")? != 0.0))?;
        query.process.terminate()?;
        let status = query.process.wait(PATIENCE)?.context("it waits for a query beyond its time")?;
        ensure!(status.success() && query.process.output()?.contains("were cut off"), "{status}");
        ensure!(!running.wait()?.success(), "a query that was cut off has an answer");
        Ok(())
    });
}
