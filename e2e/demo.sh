#!/usr/bin/env bash
# Makes taxi data and runs the whole job on it: demo.sh WORKER DIRECTORY
set -euo pipefail
worker=$1 directory=$2
here=$(dirname "$0")
rm -rf "$directory"
"$worker" generate --seed 7 --rate 40 --span 6h --disorder 5m --output "$directory/input"
"$worker" local -f "$here/manifests/demo.yaml" \
  --rides "$directory"/input/rides-*.csv --fares "$directory"/input/fares-*.csv --output "$directory/output"
"$worker" verify -f "$here/manifests/demo.yaml" --local "$directory/output"
cat <<END
Look at it with DuckDB:
  duckdb -c "select * from read_parquet('$directory/output/tips/*/*/*/*/*.parquet') order by avg_tip desc limit 10"
END
