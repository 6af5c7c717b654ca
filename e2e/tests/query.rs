//! The query service's tables: every window once, live ones with the sums so far, the archive by what a query needs
//! of it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tips_e2e::books::Books;
use tips_e2e::hdfs::Hdfs;
use tips_e2e::ports::Port;
use tips_e2e::process::run;
use tips_e2e::query::Query;
use tips_e2e::s3::S3;
use tips_e2e::sender::send;
use tips_e2e::wait::until;
use tips_e2e::worker::{Bucket, Data, MIXED, Pipeline, Target, metric, until_metric};
use tips_e2e::{Folder, Servers, cache, scenario};

const PATIENCE: Duration = Duration::from_secs(120);
const DATA: [&str; 6] = ["--seed", "41", "--rate", "4", "--span", "3h"];
const WINDOWS: &str = "SELECT window_start, window_end, stop_nbhd, trips, tip_sum FROM tips ORDER BY 1, 3";

/// What DuckDB reads in Parquet files, as `psql` would print it.
fn duckdb(sql: &str) -> Result<Vec<Vec<String>>> {
    let script = "import duckdb, sys\nduckdb.sql(\"SET TimeZone = 'UTC'\")\n\
                  for row in duckdb.sql(sys.argv[1]).fetchall(): print('|'.join(str(value) for value in row))";
    let text = run(Command::new(cache::python()?).args(["-c", script, sql]))?;
    Ok(text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect())
}

fn parquet(output: &Path, table: &str) -> String {
    format!("read_parquet('{}/{table}/**/*.parquet', hive_partitioning = false)", output.display())
}

/// What `local` makes of the same data: all windows, since its input has an end.
fn local(folder: &Folder, data: &Data) -> Result<Vec<Vec<String>>> {
    let output = folder.path().join("local");
    data.local(&output)?;
    let columns = "strftime(window_start, '%Y-%m-%d %H:%M:%S.%f+00'), strftime(window_end, '%Y-%m-%d %H:%M:%S.%f+00'), \
                   stop_nbhd, trips, tip_sum";
    duckdb(&format!("SELECT {columns} FROM {} ORDER BY 1, 3", parquet(&output, "tips")))
}

#[test]
fn live_and_archive_are_one_table_with_every_window_once() {
    scenario("query-tables", |folder| {
        let servers = Servers::start(folder)?;
        let data = Data::generate(folder, &[&DATA[..], &MIXED].concat())?;
        data.produce(&servers.kafka, "q")?;
        let mut pipeline = servers.pipeline("q", &["raw: {flushInterval: 1s}"])?;
        pipeline.catch_up(1, PATIENCE)?;
        let query = Query::open(&pipeline, &folder.path().join("query.log"), &[])?;
        let all = local(folder, &data)?;
        let seen = query.rows(WINDOWS)?;
        ensure!(seen.len() == all.len(), "{} rows in place of {}", seen.len(), all.len());
        for (seen, expected) in seen.iter().zip(&all) {
            ensure!(seen == expected, "{seen:?} in place of {expected:?}");
        }
        let closed = servers.closed("q")?;
        let live = query.value("SELECT count(*) FROM tips_live")?;
        ensure!(live != "0" && query.value("SELECT count(*) FROM tips WHERE NOT final")? == live, "{live}");
        let open = format!("SELECT count(*) FROM tips_live WHERE window_end <= '{closed}'");
        ensure!(query.value(&open)? == "0", "a closed window is live");
        let average = "SELECT count(*) FROM tips WHERE abs(avg_tip - tip_sum / trips) > 1e-6";
        ensure!(query.value(average)? == "0", "an average is not that of its sums");
        for (cast, range) in [
            (
                "window_start::date = '2013-01-01'",
                "window_start >= '2013-01-01' AND window_start < '2013-01-02'",
            ),
            ("window_end::date = '2013-01-01'", "window_end >= '2013-01-01' AND window_end < '2013-01-02'"),
            ("NOT window_start < '2013-01-01'", "window_start >= '2013-01-01'"),
        ] {
            let count = |filter: &str| query.value(&format!("SELECT count(*) FROM tips WHERE {filter}"));
            let (cast, range) = (count(cast)?, count(range)?);
            ensure!(cast == range && cast != "0", "{cast} in place of {range}");
        }
        let output = pipeline.output()?;
        for table in ["rides", "fares", "invalid"] {
            let files = duckdb(&format!("SELECT count(*) FROM {}", parquet(&output, table)))?;
            ensure!(query.rows(&format!("SELECT count(*) FROM {table}"))? == files, "{table}: {files:?}");
        }
        let status = query
            .rows("SELECT rides_consumed + fares_consumed, state_error, sink_error FROM pipeline_status")?;
        ensure!(status == [[data.records()?.to_string(), String::new(), String::new()]], "{status:?}");
        let books = Books::generated(&folder.path().join("input"))?;
        let told = query.rows(
            "SELECT trips_joined, rides_invalid, fares_invalid, to_char(watermark, '%Y-%m-%d %H:%M:%S'), \
             open_windows = (SELECT count(DISTINCT window_start) FROM tips_live), \
             latest_event_time = greatest((SELECT max(event_time) FROM rides), (SELECT max(start_time) FROM fares)) \
             FROM pipeline_status",
        )?;
        let [joined, rides, fares] = [("rides", "joined"), ("rides", "invalid"), ("fares", "invalid")]
            .map(|(topic, outcome)| books.get(topic, outcome).to_string());
        ensure!(told == [[joined, rides, fares, closed, "t".into(), "t".into()]], "{told:?}");
        Ok(())
    });
}

#[test]
fn while_windows_are_published_none_is_seen_twice_or_missing_and_sums_only_grow() {
    scenario("query-moving", |folder| {
        let servers = Servers::start(folder)?;
        let data = Data::generate(folder, &["--seed", "42", "--rate", "4", "--span", "12h"])?;
        let topics = data.topics(&servers.kafka, "moving")?;
        let mut pipeline = servers.pipeline("moving", &[])?;
        let mut worker = pipeline.start(&["--until-caught-up"])?;
        drop(worker.end());
        let mut worker = pipeline.start(&[])?;
        let query = Query::open(&pipeline, &folder.path().join("query.log"), &[])?;
        let kafka = servers.kafka.client();
        let sender = std::thread::spawn(move || send(&kafka, &topics, Some(40_000)));
        let sql = "SELECT coalesce(sum(trips), 0), coalesce(sum(CASE WHEN final THEN trips END), 0), \
                   count(*) - count(DISTINCT concat(window_start::text, stop_nbhd)) FROM tips";
        let (mut trips, mut published, mut steps) = (0_u64, 0_u64, 0);
        let deadline = Instant::now() + PATIENCE;
        let mut sent_at = None;
        while sent_at.is_none_or(|at: Instant| at.elapsed() < Duration::from_secs(5)) {
            ensure!(Instant::now() < deadline, "sending takes too long");
            let row = query.rows(sql)?.swap_remove(0);
            ensure!(row[2] == "0", "{} windows are there twice", row[2]);
            let (now, now_published): (u64, u64) = (row[0].parse()?, row[1].parse()?);
            ensure!(now >= trips, "{now} trips after {trips}: a window is missing");
            ensure!(now_published >= published, "{now_published} published after {published}");
            steps += u32::from(now_published > published && published > 0);
            (trips, published) = (now, now_published);
            if sent_at.is_none() && sender.is_finished() {
                sent_at = Some(Instant::now());
            }
        }
        sender.join().map_err(|_| anyhow::anyhow!("the sender has panicked"))??;
        ensure!(steps >= 3, "windows were published between queries only {steps} times");
        ensure!(worker.is_running(), "{}", worker.last_lines());
        Ok(())
    });
}

#[test]
fn a_record_is_seen_a_second_after_it_arrived() {
    scenario("query-fresh", |folder| {
        let servers = Servers::start(folder)?;
        let data = Data::generate(folder, &["--seed", "43", "--rate", "1", "--span", "20m"])?;
        let topics = data.topics(&servers.kafka, "fresh")?;
        let mut pipeline = servers.pipeline("fresh", &[])?;
        let mut worker = pipeline.start(&[])?;
        let query = Query::open(&pipeline, &folder.path().join("query.log"), &[])?;
        ensure!(query.value("SELECT count(*) FROM tips_live")? == "0", "there is nothing yet");
        until_metric(&mut worker, "tipstream_assigned_partitions", 8.0, PATIENCE)?;
        send(&servers.kafka.client(), &topics, None)?;
        // Longer than the promise by what a loaded machine may take; the figure itself is measured by `make bench`.
        let joined = "SELECT trips_joined > 0 AND (SELECT count(*) FROM tips_live) > 0 FROM pipeline_status";
        until("seen", Duration::from_secs(10), || Ok(query.value(joined)? == "t"))
            .with_context(|| worker.last_lines())
    });
}

/// What is read of a file to find its footer; of a smaller one that is all.
const FOOTER: u64 = 64 << 10;

/// A year of days, each a copy of the first. Returns the sizes of a day's files.
fn year(output: &Path, table: &str) -> Result<Vec<u64>> {
    let first = output.join(table).join("year=2013/month=1/day=1");
    let days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    for (month, days) in (1..).zip(days) {
        for day in 1..=days {
            let to = output.join(table).join(format!("year=2013/month={month}/day={day}"));
            if !to.exists() {
                std::fs::create_dir_all(to.parent().context("a day without its month")?)?;
                run(Command::new("cp").arg("-rl").arg(&first).arg(&to))?;
            }
        }
    }
    let text = run(Command::new("find").arg(&first).args(["-type", "f", "-printf", "%s\n"]))?;
    text.lines().map(|bytes| bytes.parse().context("a size")).collect()
}

#[test]
fn a_day_of_a_year_reads_the_files_of_that_day() {
    scenario("query-prune", |folder| {
        let servers = Servers::start(folder)?;
        let data = Data::generate(folder, &["--seed", "44", "--rate", "6", "--span", "20h"])?;
        data.produce(&servers.kafka, "year")?;
        let mut pipeline = servers.pipeline("year", &["raw: {flushInterval: 1s}"])?;
        pipeline.catch_up(1, PATIENCE)?;
        let output = pipeline.output()?;
        let query = Query::open(&pipeline, &folder.path().join("query.log"), &[])?;
        let read = || metric(&query.process, "tipstream_query_sink_read_bytes_total");
        for (table, time) in [("tips", "window_start"), ("rides", "event_time"), ("fares", "start_time")] {
            let files = year(&output, table)?;
            let (day, larger) = (files.iter().sum::<u64>(), files.iter().any(|len| *len > FOOTER));
            let of_footers: u64 = files.iter().map(|len| (*len).min(FOOTER)).sum();
            let before = read()?;
            // Rows of the copies are of the first day, so none is found; the files have to be looked into for that.
            let of_day = format!("FROM {table} WHERE {time} >= '2013-06-05' AND {time} < '2013-06-06'");
            query.value(&format!("SELECT count(*) {of_day}"))?;
            let footers = read()? - before;
            ensure!(
                footers > 0.0 && footers <= of_footers as f64,
                "{footers} of {day} bytes of a day's {table}"
            );
            let first = format!("FROM {table} WHERE {time} >= '2013-01-01' AND {time} < '2013-01-02'");
            let before = read()?;
            query.rows(&format!("SELECT * {first} LIMIT 900000"))?;
            let all = read()? - before;
            // Of larger files ranges are read, with what lies between them: some bytes come twice.
            let most = if larger { 2.5 * day as f64 } else { day as f64 };
            ensure!(all <= most, "{all} bytes were read of a day's {table} of {day}");
            // A few minutes: row groups and pages that cannot have them are left out.
            let before = read()?;
            let minutes =
                format!("FROM {table} WHERE {time} BETWEEN '2013-01-01 10:00:00' AND '2013-01-01 10:09:59'");
            let rows: u64 = query.value(&format!("SELECT count(*) {minutes}"))?.parse()?;
            let some = read()? - before;
            ensure!(rows > 0 && some < all, "{some} bytes for {rows} rows, {all} for the day");
            let year = 365 * day;
            eprintln!(
                "{table}: {all} bytes read for a day of {year}, {some} for ten minutes, {footers} for no row"
            );
        }
        let plan = query.psql("EXPLAIN ANALYZE SELECT * FROM tips WHERE window_start >= '2013-01-01' AND window_start < '2013-01-02'")?;
        ensure!(plan.contains("bytes_scanned"), "{plan}");
        ensure!(!plan.contains("month=2"), "{plan}");
        Ok(())
    });
}

/// The windows, and how many lines there are. Sorted: no row is given before all are read, so a client sees nothing of
/// files that are merged away meanwhile.
fn contents(query: &Query) -> Result<String> {
    let said = query.psql(&format!(
        "SELECT t.*, (SELECT count(*) FROM rides) AS rides, (SELECT sum(kafka_offset) FROM rides) AS offsets, \
         (SELECT count(*) FROM fares) AS fares \
         FROM ({WINDOWS}) t ORDER BY 1, 3"
    ))?;
    ensure!(!said.contains("ERROR"), "{said}");
    Ok(said)
}

/// A day of a pipeline in `target`, before, while and after it is compacted, by runs that die at `points` and by one
/// that waits at `pause`. Its windows are in the state too: closed there, and the last ones open.
fn stays_the_same(folder: &Folder, target: Target, points: &[&str], pause: &str) -> Result<()> {
    let servers = Servers::start(folder)?;
    let data = Data::generate(folder, &["--seed", "45", "--rate", "3", "--span", "6h"])?;
    data.produce(&servers.kafka, "merged")?;
    let settings = servers.settings(&["raw: {flushInterval: 1s}"]);
    let mut pipeline = Pipeline::new(folder, "merged", &settings, target)?;
    pipeline.catch_up(2, PATIENCE)?;
    let map = Port::reserve()?;
    let query = Query::open(&pipeline, &folder.path().join("query.log"), &["--map", &map.address()])?;
    let windows = || query.map(&map, "windows");
    let (before, shown) = (contents(&query)?, windows()?);
    ensure!(before.lines().count() > 100, "{before}");
    for point in points {
        pipeline.compact_dies_at("2013-01-01", point)?;
        ensure!(contents(&query)? == before, "after a death at {point}");
        ensure!(windows()? == shown, "on the map after a death at {point}");
    }
    let mut command = pipeline.compact_command("2013-01-01", &[])?;
    command.env("FAILPOINTS", format!("{pause}=sleep(3000)")).stdout(Stdio::null());
    let mut run = command.spawn().context("compact")?;
    let mut asked = 0;
    while run.try_wait()?.is_none() {
        ensure!(contents(&query)? == before, "while it is compacted");
        ensure!(windows()? == shown, "on the map while it is compacted");
        asked += 1;
    }
    ensure!(asked > 0, "never asked");
    ensure!(run.wait()?.success(), "compact has failed");
    ensure!(contents(&query)? == before, "after it was compacted");
    ensure!(windows()? == shown, "on the map after it was compacted");
    ensure!(pipeline.compact("2013-01-01", &[])?.folders() == 0, "something was left");
    let files = query.psql("EXPLAIN SELECT * FROM tips WHERE window_start < '2013-01-02'")?;
    ensure!(files.contains("window=all"), "{files}");
    let repeated = metric(&query.process, "tipstream_query_repeated_total")?;
    eprintln!("{asked} times the same while it was compacted, {repeated} of them begun again");
    Ok(())
}

#[test]
fn a_day_in_a_bucket_is_the_same_before_while_and_after_it_is_compacted() {
    scenario("query-compacted", |folder| {
        let s3 = S3::start(folder)?;
        let points = [
            "compact::after-plan",
            "sink::after-publish/tips",
            "sink::before-removal",
            "compact::before-done",
        ];
        stays_the_same(folder, Target::S3(Bucket::of(&s3)), &points, "sink::before-removal")
    });
}

#[test]
fn a_day_of_hdfs_is_the_same_before_while_and_after_it_is_compacted() {
    scenario("query-compacted-hdfs", |folder| {
        let hdfs = Hdfs::start(folder)?;
        stays_the_same(folder, Target::Hdfs(hdfs.files()), &["sink::before-removal"], "sink::before-removal")
    });
}

#[test]
fn a_day_in_a_folder_is_the_same_before_while_and_after_it_is_compacted() {
    scenario("query-compacted-fs", |folder| {
        let target = Target::Fs(folder.path().join("output"));
        stays_the_same(folder, target, &["sink::after-exchange"], "sink::before-exchange")
    });
}

#[test]
fn the_map_shows_what_sql_says() {
    scenario("query-map", |folder| {
        let servers = Servers::start(folder)?;
        let data = Data::generate(folder, &["--seed", "46", "--rate", "3", "--span", "4h"])?;
        data.produce(&servers.kafka, "map")?;
        let mut pipeline = servers.pipeline("map", &[])?;
        pipeline.catch_up(1, PATIENCE)?;
        let port = Port::reserve()?;
        let query = Query::open(&pipeline, &folder.path().join("query.log"), &["--map", &port.address()])?;
        let sql = "SELECT to_char(window_start, '%Y-%m-%dT%H:%M:%SZ'), final, stop_nbhd, trips FROM tips ORDER BY 1, 3";
        for when in ["before", "after"] {
            let rows = query.rows(sql)?;
            let list = query.map(&port, "windows")?;
            let listed = list["windows"].as_array().context("no windows")?;
            let mut seen = Vec::new();
            for window in listed {
                let start = window["start"].as_str().context("no start")?;
                let cells = query.map(&port, &format!("windows/{start}"))?;
                ensure!(cells["final"] == window["final"], "{when}: {cells}");
                let end = if window["final"] == true { "t" } else { "f" };
                for cell in cells["cells"].as_array().context("no cells")? {
                    let name = cell["neighbourhood"].as_str().context("no name")?.to_owned();
                    seen.push(vec![start.to_owned(), end.to_owned(), name, cell["trips"].to_string()]);
                }
            }
            ensure!(
                seen.len() > 100 && seen == rows,
                "{when}: {} cells, and {} rows",
                seen.len(),
                rows.len()
            );
            let name = &rows[0][2];
            let line = query.map(&port, &format!("history?neighbourhood={}", name.replace(' ', "+")))?;
            let points = line["points"].as_array().context("no line")?;
            let trips: u64 = points.iter().filter_map(|point| point["trips"].as_u64()).sum();
            let first = points.first().and_then(|point| point["start"].as_str()).context("no point")?;
            let of_line = format!("stop_nbhd = '{name}' AND window_start >= '{first}'");
            let all = query.value(&format!("SELECT sum(trips) FROM tips WHERE {of_line}"))?;
            ensure!(trips.to_string() == all, "{when}: {trips} of {all} trips in {name}");
            pipeline.compact("2013-01-01", &[])?;
        }
        Ok(())
    });
}
