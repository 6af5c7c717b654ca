"""What Grafana's PostgreSQL data source and Metabase send, and what has to come of it."""

from typing import Callable, NamedTuple


class Statement(NamedTuple):
    """With values for `$1` and so on, where it has such."""

    sql: str
    is_expected: Callable = lambda rows: True
    arguments: tuple = ()


SEARCH_PATH = """
    SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
    FROM generate_series(
           array_lower(string_to_array(current_setting('search_path'),','),1),
           array_upper(string_to_array(current_setting('search_path'),','),1)) as i,
         string_to_array(current_setting('search_path'),',') s"""

# Grafana: the test of the connection, the version, the query builder's tables and columns.
GRAFANA = [
    Statement("SELECT 1", lambda rows: rows == [(1,)]),
    Statement("SELECT current_setting('server_version_num')::int/100", lambda rows: rows[0][0] >= 900),
    Statement(
        f"""SELECT CASE WHEN quote_ident(table_schema) IN ({SEARCH_PATH})
              THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table"
            FROM information_schema.tables
            WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache',
              '_timescaledb_catalog', '_timescaledb_internal', '_timescaledb_config', 'timescaledb_information',
              'timescaledb_experimental')
            ORDER BY CASE WHEN quote_ident(table_schema) IN ({SEARCH_PATH}) THEN 0 ELSE 1 END, 1""",
        lambda rows: ("tips",) in rows and ("tips_live",) in rows,
    ),
    Statement(
        f"""SELECT quote_ident(column_name) AS "column", data_type AS "type" FROM information_schema.columns
            WHERE CASE WHEN array_length(parse_ident('tips'),1) = 2
              THEN quote_ident(table_schema) = (parse_ident('tips'))[1] AND quote_ident(table_name) = (parse_ident('tips'))[2]
              ELSE quote_ident(table_name) = 'tips' AND quote_ident(table_schema) IN ({SEARCH_PATH}) END""",
        lambda rows: "window_start" in [row[0] for row in rows],
    ),
    # A panel: $__timeGroupAlias, $__timeFilter and a metric.
    Statement(
        """SELECT floor(extract(epoch from window_start)/600)*600 AS "time", stop_nbhd AS metric, avg(avg_tip) AS "value"
           FROM tips WHERE window_start BETWEEN '2013-01-01T00:00:00Z' AND '2013-01-01T02:00:00Z'
           GROUP BY 1, 2 ORDER BY 1, 2""",
        lambda rows: len(rows) > 10,
    ),
    Statement(
        """SELECT window_start AS "time", sum(trips) AS trips FROM tips
           WHERE window_start >= '2013-01-01T00:00:00Z' AND window_start <= '2013-01-01T02:00:00Z'
           GROUP BY window_start ORDER BY window_start""",
        lambda rows: len(rows) > 5,
    ),
    # A table of all that a column can be.
    Statement(
        """SELECT window_start AS "time", window_end AS timeend, stop_nbhd, avg_tip, trips, tip_sum, final FROM tips
           WHERE window_start BETWEEN '2013-01-01T00:00:00Z' AND '2013-01-01T02:00:00Z' ORDER BY 1, 3""",
        lambda rows: len(rows) > 10,
    ),
    # The schema, as newer ones ask for it: with arguments.
    Statement(
        """SELECT schema_name FROM information_schema.schemata
           WHERE schema_name NOT LIKE 'pg_%' AND schema_name != 'information_schema' ORDER BY schema_name""",
        lambda rows: rows == [("public",)],
    ),
    Statement(
        """SELECT table_name FROM information_schema.tables
           WHERE table_schema = $1 AND table_type IN ('BASE TABLE', 'VIEW') ORDER BY table_name""",
        lambda rows: ("tips",) in rows,
        ("public",),
    ),
    Statement(
        """SELECT column_name, data_type, udt_name, numeric_precision, numeric_scale FROM information_schema.columns
           WHERE table_schema = $1 AND table_name = $2 ORDER BY ordinal_position""",
        lambda rows: rows[0] == ("window_start", "timestamp with time zone", "timestamptz", None, None),
        ("public", "tips"),
    ),
    Statement(
        """SELECT 'stop_nbhd' AS col_name, "stop_nbhd"::text AS val FROM (SELECT DISTINCT "stop_nbhd" FROM "public"."tips"
             WHERE "stop_nbhd" IS NOT NULL ORDER BY "stop_nbhd" LIMIT 100) sub_0
           UNION ALL SELECT 'trips' AS col_name, "trips"::text AS val FROM (SELECT DISTINCT "trips" FROM "public"."tips"
             WHERE "trips" IS NOT NULL ORDER BY "trips" LIMIT 100) sub_1""",
        lambda rows: ("stop_nbhd", "Other") in rows and ("trips", "1") in rows,
    ),
]

# Metabase: the session's settings, then schemas, tables, columns, keys and what the user may do.
METABASE = [
    Statement("SET extra_float_digits = 2"),
    Statement("SET application_name = 'Metabase v0.55.1'"),
    Statement("SHOW TRANSACTION ISOLATION LEVEL", lambda rows: len(rows) == 1),
    Statement("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ UNCOMMITTED"),
    Statement(
        """SELECT nspname AS "TABLE_SCHEM", current_database() AS "TABLE_CATALOG" FROM pg_catalog.pg_namespace
           WHERE nspname <> 'pg_toast' AND (nspname !~ '^pg_temp_' OR nspname = (pg_catalog.current_schemas(true))[1])
           ORDER BY "TABLE_SCHEM" """,
        lambda rows: "public" in [row[0] for row in rows],
    ),
    Statement(
        """SELECT "n"."nspname" AS "schema", "c"."relname" AS "name",
             CASE "c"."relkind" WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' ELSE NULL END AS "type",
             "d"."description" AS "description"
           FROM "pg_catalog"."pg_class" AS "c"
           INNER JOIN "pg_catalog"."pg_namespace" AS "n" ON "c"."relnamespace" = "n"."oid"
           LEFT JOIN "pg_catalog"."pg_description" AS "d" ON ("c"."oid" = "d"."objoid") AND ("d"."objsubid" = '0')
           WHERE ("n"."nspname" !~ '^pg_') AND ("n"."nspname" <> 'information_schema') AND c.relkind in ('r', 'v')
           ORDER BY "type" ASC, "schema" ASC, "name" ASC""",
        lambda rows: "tips" in [row[1] for row in rows],
    ),
    Statement(
        """SELECT c.column_name, c.data_type, c.is_nullable, c.ordinal_position FROM information_schema.columns c
           WHERE c.table_schema = 'public' AND c.table_name = 'fares' ORDER BY c.ordinal_position""",
        lambda rows: rows[0][0] == "ride_id" and len(rows) == 11,
    ),
    # The fields of a schema with their keys.
    Statement(
        """SELECT c.column_name AS name,
             CASE WHEN c.udt_schema IN ('public', 'pg_catalog') THEN format('%s', c.udt_name)
               ELSE format('"%s"."%s"', c.udt_schema, c.udt_name) END AS "database-type",
             c.ordinal_position - 1 AS "database-position", c.table_schema AS "table-schema", c.table_name AS "table-name",
             pk.column_name IS NOT NULL AS "pk?",
             col_description(CAST(CAST(format('%I.%I', CAST(c.table_schema AS text), CAST(c.table_name AS text)) AS regclass)
               AS oid), c.ordinal_position) AS "field-comment",
             (column_default IS NULL OR lower(column_default) = 'null') AND is_nullable = 'NO'
               AND NOT ((column_default IS NOT NULL AND column_default LIKE '%nextval(%') OR is_identity <> 'NO')
               AS "database-required"
           FROM information_schema.columns AS c
           LEFT JOIN (SELECT tc.table_schema, tc.table_name, kc.column_name FROM information_schema.table_constraints AS tc
             INNER JOIN information_schema.key_column_usage AS kc ON tc.constraint_name = kc.constraint_name
               AND tc.table_schema = kc.table_schema AND tc.table_name = kc.table_name
             WHERE tc.constraint_type = 'PRIMARY KEY') AS pk
           ON c.table_schema = pk.table_schema AND c.table_name = pk.table_name AND c.column_name = pk.column_name
           WHERE c.table_schema !~ '^information_schema|catalog_history|pg_' AND c.table_schema IN ('public')""",
        lambda rows: ("window_start", "timestamptz", 0, "public", "tips", False) in [row[:6] for row in rows],
    ),
    # Its tables.
    Statement(
        """SELECT n.nspname AS schema, c.relname AS name, CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' END AS type,
             d.description AS description, stat.n_live_tup AS estimated_row_count
           FROM pg_catalog.pg_class AS c
           INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
           LEFT JOIN pg_catalog.pg_description AS d ON c.oid = d.objoid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass
           LEFT JOIN pg_stat_user_tables AS stat ON n.nspname = stat.schemaname AND c.relname = stat.relname
           WHERE c.relnamespace = n.oid AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
             AND c.relkind IN ('r', 'p', 'v', 'f', 'm') AND n.nspname IN ('public') ORDER BY type, schema, name""",
        lambda rows: "tips" in [row[1] for row in rows],
    ),
    # What the user may do, with names in quotes.
    Statement(
        """WITH relations AS (
             SELECT schemaname, tablename AS name FROM pg_catalog.pg_tables
             UNION SELECT schemaname, viewname AS name FROM pg_catalog.pg_views
             UNION SELECT schemaname, matviewname AS name FROM pg_catalog.pg_matviews),
           quoted AS (
             SELECT schemaname, name, '"' || replace(schemaname, '"', '""') || '"' || '.' || '"' || replace(name, '"', '""') || '"' AS q
             FROM relations WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema'
               AND pg_catalog.has_schema_privilege(current_user, schemaname, 'usage'))
           SELECT NULL AS role, schemaname AS schema, name AS table,
             pg_catalog.has_any_column_privilege(current_user, q, 'select') AS select,
             pg_catalog.has_any_column_privilege(current_user, q, 'update') AS update,
             pg_catalog.has_any_column_privilege(current_user, q, 'insert') AS insert,
             pg_catalog.has_table_privilege(current_user, q, 'delete') AS delete FROM quoted""",
        lambda rows: (None, "public", "tips", True, False, False, False) in rows and not any(row[4] for row in rows),
    ),
    # Enumerations, foreign keys, indexes: none.
    Statement(
        """SELECT nspname, typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
           WHERE t.oid IN (SELECT DISTINCT enumtypid FROM pg_enum e)""",
        lambda rows: rows == [],
    ),
    Statement(
        """SELECT "fk_table"."relname", "fk_column"."attname", "pk_table"."relname", "pk_column"."attname"
           FROM "pg_constraint" AS "c" INNER JOIN "pg_class" AS "fk_table" ON "c"."conrelid" = "fk_table"."oid"
           INNER JOIN "pg_namespace" AS "fk_ns" ON "c"."connamespace" = "fk_ns"."oid"
           INNER JOIN "pg_attribute" AS "fk_column" ON "c"."conrelid" = "fk_column"."attrelid"
           INNER JOIN "pg_class" AS "pk_table" ON "c"."confrelid" = "pk_table"."oid"
           INNER JOIN "pg_attribute" AS "pk_column" ON "c"."confrelid" = "pk_column"."attrelid"
           WHERE fk_ns.nspname !~ '^information_schema|catalog_history|pg_' AND ("c"."contype" = 'f'::char)
             AND ("fk_column"."attnum" = ANY(c.conkey)) AND ("pk_column"."attnum" = ANY(c.confkey))""",
        lambda rows: rows == [],
    ),
    Statement(
        """SELECT "tmp"."table", TRIM(BOTH '"' FROM "pg_catalog"."pg_get_indexdef"("tmp"."ci_oid", "tmp"."pos", FALSE)) AS "field"
           FROM (SELECT "ct"."relname" AS "table", "ci"."oid" AS "ci_oid",
               ("information_schema"."_pg_expandarray"("i"."indkey"))."n" AS "pos"
             FROM "pg_catalog"."pg_class" AS "ct" INNER JOIN "pg_catalog"."pg_index" AS "i" ON "ct"."oid" = "i"."indrelid"
             INNER JOIN "pg_catalog"."pg_class" AS "ci" ON "ci"."oid" = "i"."indexrelid"
             WHERE "pg_catalog"."pg_get_expr"("i"."indpred", "i"."indrelid") IS NULL) AS "tmp"
           WHERE "tmp"."pos" = 1""",
        lambda rows: rows == [],
    ),
    # Columns of tables and of materialized views, functions in capitals.
    Statement(
        """SELECT "c"."column_name" AS "name", FORMAT('%s', "c"."udt_name") AS "database-type",
             "c"."ordinal_position" - 1 AS "database-position", "c"."table_name" AS "table-name",
             COL_DESCRIPTION(CAST(CAST(FORMAT('%I.%I', CAST("c"."table_schema" AS TEXT), CAST("c"."table_name" AS TEXT)) AS REGCLASS)
               AS OID), "c"."ordinal_position") AS "field-comment",
             (("column_default" IS NOT NULL) AND ("column_default" LIKE '%nextval(%')) OR ("is_identity" <> 'NO') AS "auto"
           FROM "information_schema"."columns" AS "c" WHERE "c"."table_schema" IN ('public')
           UNION ALL
           SELECT "pa"."attname" AS "name", FORMAT('%s', "pt"."typname") AS "database-type",
             "pa"."attnum" - 1 AS "database-position", "pc"."relname" AS "table-name", NULL AS "field-comment", FALSE AS "auto"
           FROM "pg_catalog"."pg_class" AS "pc" INNER JOIN "pg_catalog"."pg_attribute" AS "pa" ON "pa"."attrelid" = "pc"."oid"
           INNER JOIN "pg_catalog"."pg_type" AS "pt" ON "pt"."oid" = "pa"."atttypid"
           WHERE ("pc"."relkind" = 'm') AND ("pa"."attnum" >= 1) ORDER BY "table-name" ASC, "database-position" ASC""",
        lambda rows: ("window_start", "timestamptz", 0, "tips", None, False) in rows,
    ),
    # Questions by day, by day of the week and by week, of the last days.
    Statement(
        """SELECT CAST("public"."tips"."window_start" AS date) AS "window_start", COUNT(*) AS "count" FROM "public"."tips"
           GROUP BY CAST("public"."tips"."window_start" AS date) ORDER BY 1 ASC""",
        lambda rows: len(rows) >= 1,
    ),
    Statement(
        """SELECT CAST(extract(dow from "public"."tips"."window_start") AS integer) AS "d", COUNT(*) AS "count"
           FROM "public"."tips" GROUP BY 1 ORDER BY 1""",
        lambda rows: 2 in [row[0] for row in rows],
    ),
    Statement(
        """SELECT (DATE_TRUNC('week', ("public"."tips"."window_start" + INTERVAL '1 day')) + INTERVAL '-1 day') AS "w",
             COUNT(*) AS "count" FROM "public"."tips" GROUP BY 1 ORDER BY 1""",
        lambda rows: len(rows) >= 1,
    ),
    Statement(
        """SELECT COUNT(*) AS "count" FROM "public"."tips" WHERE ("public"."tips"."window_start" >=
             DATE_TRUNC('day', (NOW() + INTERVAL '-30 day'))) AND ("public"."tips"."window_start" < DATE_TRUNC('day', NOW()))""",
        lambda rows: rows == [(0,)],
    ),
    Statement("show timezone", lambda rows: rows == [("UTC",)]),
    # The sample of a table, and a question with a bucket of time.
    Statement(
        'SELECT "public"."tips"."stop_nbhd" AS "stop_nbhd" FROM "public"."tips" LIMIT 1048575',
        lambda rows: len(rows) > 10,
    ),
    Statement(
        """SELECT DATE_TRUNC('hour', "public"."tips"."window_start") AS "window_start", SUM("public"."tips"."trips") AS "sum"
           FROM "public"."tips" GROUP BY DATE_TRUNC('hour', "public"."tips"."window_start") ORDER BY 1 ASC""",
        lambda rows: len(rows) > 1,
    ),
    # Rows that a condition holds for, counted, and their share.
    Statement(
        """SELECT SUM(CASE WHEN "public"."tips"."trips" > 2 THEN 1 ELSE 0.0 END) AS "count",
             CAST(SUM(CASE WHEN "public"."tips"."trips" > 2 THEN 1 ELSE 0.0 END) AS DOUBLE PRECISION)
               / NULLIF(COUNT(*), 0) AS "share"
           FROM "public"."tips" """,
        lambda rows: rows[0][0] > 10 and 0 < rows[0][1] < 1,
    ),
    # Questions with a filter by a time and by a text, with the remark that tells the database whose they are.
    Statement(
        """-- Metabase:: userID: 1 queryType: MBQL queryHash: 5a4e1b
           SELECT "public"."tips"."window_start" AS "window_start", "public"."tips"."avg_tip" AS "avg_tip",
             "public"."tips"."trips" AS "trips", "public"."tips"."tip_sum" AS "tip_sum", "public"."tips"."final" AS "final"
           FROM "public"."tips" WHERE ("public"."tips"."window_start" >= timestamp with time zone '2013-01-01 00:00:00.000Z')
             AND ("public"."tips"."window_start" < timestamp with time zone '2013-01-02 00:00:00.000Z')
             AND ("public"."tips"."stop_nbhd" = $1) ORDER BY "public"."tips"."window_start" ASC LIMIT 2000""",
        lambda rows: len(rows) > 5,
        ("Other",),
    ),
]
