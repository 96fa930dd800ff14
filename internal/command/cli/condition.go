package cli

import (
	"fmt"
	"regexp"
)

// condition is what --filter takes.
var condition = regexp.MustCompile(`^\s*([A-Za-z_/]+)\s*(!=|!~|<=|>=|=|~|<|>)\s*(.*?)\s*$`)

// Condition returns what reports whether a row is one of those that --filter asks for.
func Condition[R any](columns []Column[R], filter string) (func(R) bool, error) {
	m := condition.FindStringSubmatch(filter)
	if m == nil {
		return nil, fmt.Errorf("--filter %q: it takes COLUMN=VALUE, or another of = != ~ !~ < <= > >=", filter)
	}
	c, err := columnOf(columns, "--filter", m[1])
	if err != nil {
		return nil, err
	}
	test, err := c.test(m[2], m[3])
	if err != nil {
		return nil, fmt.Errorf("--filter %q: %w", filter, err)
	}
	return test, nil
}
