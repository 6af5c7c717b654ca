// Asks by one of the drivers that Grafana has or had, as its PostgreSQL data source does: grafana DRIVER CONNECTION
// Statements come from standard input, their rows go to standard output, both as JSON.
package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
)

type statement struct {
	SQL       string `json:"sql"`
	Arguments []any  `json:"arguments"`
}

type answer struct {
	Rows  [][]any `json:"rows"`
	Error string  `json:"error,omitempty"`
}

func main() {
	if err := answerAll(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answerAll(driver, connection string) error {
	var statements []statement
	if err := json.NewDecoder(os.Stdin).Decode(&statements); err != nil {
		return err
	}
	db, err := sql.Open(driver, connection)
	if err != nil {
		return err
	}
	defer db.Close()
	// What the button that saves and tests a data source does.
	if err := db.Ping(); err != nil {
		return err
	}
	answers := make([]answer, len(statements))
	for i, statement := range statements {
		rows, err := ask(db, statement)
		answers[i].Rows = rows
		if err != nil {
			answers[i].Error = err.Error()
		}
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func ask(db *sql.DB, statement statement) ([][]any, error) {
	rows, err := db.Query(statement.SQL, statement.Arguments...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	var all [][]any
	for rows.Next() {
		row, err := values(rows, types)
		if err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

func values(rows *sql.Rows, types []*sql.ColumnType) ([]any, error) {
	row, places := make([]any, len(types)), make([]any, len(types))
	for i := range row {
		places[i] = &row[i]
	}
	if err := rows.Scan(places...); err != nil {
		return nil, err
	}
	for i, value := range row {
		told, err := withKind(value, types[i].DatabaseTypeName())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", types[i].Name(), err)
		}
		row[i] = told
	}
	return row, nil
}

// JSON has neither times nor exact numbers. The drivers give such numbers as text, and say that they are numbers.
func withKind(value any, kind string) (any, error) {
	switch value := value.(type) {
	case nil, bool, int64, float64:
		return value, nil
	case time.Time:
		return map[string]any{"time": value.UTC()}, nil
	case []byte:
		return withKind(string(value), kind)
	case string:
		if kind == "NUMERIC" {
			return map[string]any{"numeric": value}, nil
		}
		return value, nil
	default:
		return nil, fmt.Errorf("a %T, which Grafana does not show", value)
	}
}
