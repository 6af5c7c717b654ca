//! The clients that people have, the real ones.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tips_e2e::ports::Port;
use tips_e2e::process::run_with;
use tips_e2e::query::{self, Query, USER};
use tips_e2e::tls::Certificates;
use tips_e2e::wait::until;
use tips_e2e::worker::{self, Data, MIXED, Pipeline, metric};
use tips_e2e::{Folder, Process, Servers, cache, scenario};

const PATIENCE: Duration = Duration::from_secs(120);

fn filled<'a>(folder: &'a Folder, servers: &Servers<'a>) -> Result<Pipeline<'a>> {
    let arguments = [&["--seed", "71", "--rate", "3", "--span", "3h"], &MIXED[..]].concat();
    let data = Data::generate(folder, &arguments)?;
    data.produce(&servers.kafka, "clients")?;
    let mut pipeline = servers.pipeline("clients", &["raw: {flushInterval: 1s}"])?;
    pipeline.catch_up(1, PATIENCE)?;
    Ok(pipeline)
}

fn with_service(name: &str, ask: impl FnOnce(&Query) -> Result<()>) {
    scenario(name, |folder| {
        let servers = Servers::start(folder)?;
        let pipeline = filled(folder, &servers)?;
        ask(&Query::open(&pipeline, &folder.path().join("query.log"), &[])?)
    });
}

/// A service that wants a password and encryption.
fn with_login(name: &str, ask: impl FnOnce(&Query) -> Result<()>) {
    scenario(name, |folder| {
        let servers = Servers::start(folder)?;
        let pipeline = filled(folder, &servers)?;
        let users = folder.dir("users")?;
        std::fs::write(users.join(USER), "s3cret")?;
        let made = Certificates::create(folder, "query-tls")?;
        let paths = [users, made.certificate(), made.key(), made.ca()];
        let [users, chain, key, ca] = paths.map(|path| path.display().to_string());
        let flags = ["--users", &users, "--tls-cert", &chain, "--tls-key", &key];
        let options = format!("sslmode=verify-full sslrootcert={ca}");
        let query =
            Query::start(&pipeline, &folder.path().join("query.log"), &flags, &options, Some("s3cret"))?;
        ask(&query)
    });
}

#[test]
fn psql_lists_describes_and_completes() {
    with_service("query-psql", |query| {
        let tables = query.rows("\\dt")?;
        let names: Vec<&str> = tables.iter().map(|row| row[1].as_str()).collect();
        ensure!(names == ["fares", "invalid", "pipeline_status", "rides", "tips", "tips_live"], "{tables:?}");
        let relations = query.rows("\\d")?;
        ensure!(relations.len() == names.len(), "{relations:?}");
        let columns = query.rows("\\d tips")?;
        let expected = [
            ["window_start", "timestamp with time zone"],
            ["window_end", "timestamp with time zone"],
            ["stop_nbhd", "text"],
            ["avg_tip", "double precision"],
            ["trips", "bigint"],
            ["tip_sum", "numeric"],
            ["final", "boolean"],
        ];
        for (column, expected) in columns.iter().zip(expected) {
            ensure!(column[..2] == expected, "{column:?} in place of {expected:?}");
        }
        ensure!(
            query.psql("\\d nonsense")?.contains("Did not find any relation"),
            "a table that is not there"
        );
        let plain = ["\\l", "\\dn", "\\df", "\\dv", "\\di", "\\dT", "\\db", "\\dx", "\\ds", "\\dm"];
        let more = ["\\d+", "\\dt+", "\\dn+", "\\l+", "\\dT+", "\\dg"];
        for command in [&plain[..], &more[..]].concat() {
            let said = query.psql(command)?;
            ensure!(!said.contains("ERROR"), "{command}: {said}");
        }
        let described = query.rows("\\d+ tips")?;
        ensure!(described[0][..2] == expected[0], "{described:?}");
        let roles = query.rows("\\du")?;
        ensure!(roles.iter().any(|role| role[0] == "tipstream"), "{roles:?}");
        let rights = query.rows("\\dp tips")?;
        ensure!(rights[0][..4] == ["public", "tips", "table", "=r/tipstream"], "{rights:?}");
        query.client("complete.py", &[])?;
        Ok(())
    });
}

#[test]
fn psycopg_sqlalchemy_and_pandas_read_the_tables() {
    with_service("query-python", |query| query.client("python_clients.py", &[]).map(drop));
}

#[test]
fn the_odbc_driver_reads() {
    with_service("query-odbc", |query| {
        query.client("odbc.py", &[&cache::odbc_driver()?.display().to_string()]).map(drop)
    });
}

#[test]
fn thirty_clients_are_answered_at_once() {
    with_service("query-load", |query| {
        let told = query.client("load.py", &["30", "3"])?;
        let answers: u32 = told.trim().rsplit(' ').next().context("no answers")?.parse()?;
        ensure!(answers >= 60, "{told}");
        let failed = metric(&query.process, "tipstream_query_queries_total{outcome=\"failed\"}")?;
        ensure!(failed == 0.0, "{failed} failed");
        until("all gone", PATIENCE, || Ok(metric(&query.process, "tipstream_query_connections")? == 0.0))
    });
}

#[test]
fn the_statements_of_metabase_are_answered_by_its_driver() {
    with_service("query-metabase", |query| query.client("metabase.py", &[]).map(drop));
}

#[test]
fn the_statements_of_grafana_are_answered_by_each_of_its_drivers_with_a_password_over_tls() {
    with_login("query-grafana", |query| {
        query.client("grafana.py", &[&cache::binary("grafana-client")?.display().to_string()]).map(drop)
    });
}

#[test]
fn the_jdbc_driver_reads_with_a_password_over_tls() {
    with_login("query-jdbc", |query| query.client("jdbc.py", &[]).map(drop));
}

/// What the README tells to type in its section on SQL: two commands, and statements.
fn readme() -> Result<([String; 2], Vec<String>)> {
    let text = include_str!("../../README.md");
    let section = text.split("\n## ").find(|section| section.starts_with("SQL for people"));
    let lines = section.context("README.md has no section on SQL")?.lines();
    let code: String =
        lines.filter_map(|line| line.strip_prefix("    ")).map(|line| format!("{line}\n")).collect();
    let (commands, statements) = code.split_once("-- ").context("no statement")?;
    let mut commands = commands.lines().filter(|line| !line.is_empty()).map(str::to_owned);
    let commands = [commands.next(), commands.next()].map(Option::unwrap_or_default);
    Ok((commands, format!("-- {statements}").split_inclusive(";\n").map(str::to_owned).collect()))
}

#[test]
fn the_statements_of_the_readme_give_rows() {
    with_service("query-readme", |query| {
        let (_, statements) = readme()?;
        ensure!(statements.len() == 3, "{statements:?}");
        for sql in &statements {
            // The tests have fewer trips than a city.
            let rows = query.rows(&sql.replace("trips >= 100", "trips >= 1"))?;
            ensure!(!rows.is_empty(), "{sql} gives nothing");
        }
        Ok(())
    });
}

/// As they stand there, but for the ports, which may be taken here.
#[test]
fn the_commands_of_the_readme_lead_to_an_answer() {
    scenario("query-readme-commands", |folder| {
        let servers = Servers::start(folder)?;
        let pipeline = filled(folder, &servers)?;
        let ([serve, ask], statements) = readme()?;
        let (serve, _) = serve.split_once('#').context("no remark on the environment")?;
        let manifest = pipeline.manifest().with_file_name("taxi.yaml");
        std::fs::copy(pipeline.manifest(), &manifest).context("copying the manifest")?;
        let made = Certificates::create(folder, "query-readme")?;
        let users = folder.dir("users")?;
        std::fs::write(users.join(USER), "s3cret")?;
        let port = Port::reserve()?;
        let script = format!("exec {serve} --listen 127.0.0.1:0 --postgres {}", port.address());
        let mut service = shell(&manifest, &script)?;
        service.envs(pipeline.environment()).env("TIPS_QUERY_USERS", &users).env("RUST_LOG", "info");
        service.env("TIPS_QUERY_TLS_CERT", made.certificate()).env("TIPS_QUERY_TLS_KEY", made.key());
        let mut service = Process::start("query", service, &folder.path().join("query.log"))?;
        service.until_said("\"serving\"", PATIENCE)?;

        let mut client = shell(&manifest, &format!("{ask} --no-psqlrc --file=-"))?;
        client
            .env("PGPASSWORD", "s3cret")
            .env("PGSSLROOTCERT", made.ca())
            .env("PGPORT", port.number().to_string());
        let said = run_with(&mut client, &statements.concat())?;
        ensure!(said.contains("trips_joined") && said.contains("(1 row)"), "{said}");
        Ok(())
    });
}

/// A shell beside the manifest that finds our programs and the clients.
fn shell(manifest: &Path, script: &str) -> Result<Command> {
    let mut command = Command::new("bash");
    command.args(["-euc", script]).current_dir(manifest.parent().context("a folder")?);
    let (worker, query, psql) = (worker::binary()?, query::binary()?, cache::program("psql")?);
    let folders =
        [&worker, &query, &psql].map(|program| program.parent().map(Path::to_owned).unwrap_or_default());
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&inherited)))?;
    command.env("PATH", path);
    Ok(command)
}
