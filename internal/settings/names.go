package settings

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// prefix is what the environment's variables for settings begin with. Others of ours, and the tests', do too.
const prefix = "DSM_"

var notSettings = []string{"DIR", "TICKET", "FAILPOINT", "TEST_", "PROCTEST_", "CRASHTEST_"}

func isKnown(name string) bool { return slices.ContainsFunc(definitions, byName(name)) }

func byName(name string) func(definition) bool {
	return func(d definition) bool { return d.name == name }
}

func errUnknown(name, source string) error {
	list := make([]string, len(definitions))
	for i, d := range definitions {
		list[i] = d.name
	}
	return fmt.Errorf("%s: there is no setting %q; there are %s", source, name, strings.Join(list, ", "))
}

// Check says what is wrong with what a program sets, before any process has named the instance. Types are as for Load.
func Check(types []string, prog map[string]string) error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(prog)) {
		lower := strings.ToLower(name)
		if i := slices.IndexFunc(definitions, byName(lower)); i < 0 {
			faults = append(faults, errUnknown(lower, program))
		} else {
			faults = append(faults, definitions[i].ofTypes(types).takeText(&Values{}, origin{prog[name], program}))
		}
	}
	return errors.Join(faults...)
}

// Strays returns errors for those variables of an environment, each NAME=VALUE, that look like a
// setting's and are none's: misspelled, most likely. Load can't refuse them, since they may be some
// other program's.
func Strays(environ []string) (list []error) {
	for _, v := range environ {
		key, _, _ := strings.Cut(v, "=")
		rest, ours := strings.CutPrefix(key, prefix)
		is := func(s string) bool { return rest == s || strings.HasSuffix(s, "_") && strings.HasPrefix(rest, s) }
		if name := strings.ToLower(rest); ours && !isKnown(name) && !slices.ContainsFunc(notSettings, is) {
			list = append(list, errUnknown(name, environment+key))
		}
	}
	return list
}
