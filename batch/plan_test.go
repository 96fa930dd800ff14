package batch

import (
	"fmt"
	"strings"
	"testing"
)

// TestPlans: the statements of a flush. A command is written as op:key, with @ and a letter if it is of an Ordered
// context; a key of - is none, an op of interact is an interaction. Merged commands are joined by +, statements
// separated by |.
func TestPlans(t *testing.T) {
	ranks := map[string]int{"delete": 0, "insert": 1, "update": 2, "add": 3, "read": 4}
	rules := Rules[string, int, string, string]{
		Group: func(c string) string { op, _, _ := strings.Cut(c, ":"); return op },
		Key: func(c string) (string, bool) {
			_, key, _ := strings.Cut(strings.Split(c, "+")[0], ":")
			return key, key != "-"
		},
		Rank:  func(op string) int { return ranks[op] },
		Read:  func(c string) bool { return strings.HasPrefix(c, "read") },
		Merge: func(a, b string) (string, bool) { return a + "+" + b, strings.HasPrefix(a, "add") },
	}
	for name, test := range map[string]struct{ in, want string }{
		"one statement":              {"insert:a insert:b insert:c", "insert:a insert:b insert:c"},
		"by rank":                    {"update:a insert:b delete:c update:d", "delete:c|insert:b|update:a update:d"},
		"rounds of a key":            {"update:a update:b update:a update:a", "update:a update:b|update:a|update:a"},
		"insert, then update":        {"insert:a update:a update:b", "insert:a|update:a update:b"},
		"update, then insert":        {"update:a insert:a", "update:a|insert:a"},
		"update, delete, insert":     {"update:a delete:a insert:a update:b", "update:a update:b|delete:a|insert:a"},
		"merged":                     {"add:a add:b add:a", "add:a+add:a add:b"},
		"not over another command":   {"add:a update:a add:a", "add:a|update:a|add:a"},
		"shared reads":               {"read:a read:a read:b update:a read:a", "read:a read:b|update:a|read:a"},
		"no key":                     {"insert:a insert:- insert:b", "insert:a|insert:-|insert:b"},
		"no key twice":               {"insert:- insert:-", "insert:-|insert:-"},
		"an interaction":             {"insert:a interact:- insert:b", "insert:a|interact:-|insert:b"},
		"no merging over a barrier":  {"add:a interact:- add:a", "add:a|interact:-|add:a"},
		"a stream":                   {"insert:a@x insert:b@x insert:c", "insert:a insert:c|insert:b"},
		"two streams":                {"insert:a@x insert:b@y insert:c@x insert:d@y", "insert:a insert:b|insert:c insert:d"},
		"a stream, by rank":          {"insert:a@x update:b@x", "insert:a|update:b"},
		"a stream, against rank":     {"update:a@x insert:b@x", "update:a|insert:b"},
		"a stream merged":            {"add:a@x add:a@x", "add:a+add:a"},
		"no merging against streams": {"add:a add:b@x add:a@x", "add:a add:b|add:a"},
		"merging after the stream":   {"insert:b@x add:a add:a@x", "insert:b|add:a+add:a"},
		"shared read in a stream":    {"read:a update:b@x read:a@x", "update:b|read:a"},
		"no sharing against streams": {"read:a read:b@x read:a@x", "read:a read:b|read:a"},
	} {
		t.Run(name, func(t *testing.T) {
			streams := map[string]*stream{}
			var calls []*call[string, int]
			for word := range strings.FieldsSeq(test.in) {
				cmd, letter, ordered := strings.Cut(word, "@")
				c := &call[string, int]{cmd: cmd}
				if ordered {
					if streams[letter] == nil {
						streams[letter] = &stream{}
					}
					c.stream = streams[letter]
				}
				if strings.HasPrefix(cmd, "interact") {
					c.interact = &interaction{}
				}
				calls = append(calls, c)
			}
			var p plan[string, int]
			newPlans(rules, 0).plan(&p, calls, true, nil)
			var statements []string
			for i, e := range p.entries {
				if i > 0 && e.statement == p.entries[i-1].statement {
					statements[len(statements)-1] += " " + p.cmds[i]
				} else {
					statements = append(statements, p.cmds[i])
				}
			}
			if got := strings.Join(statements, "|"); got != test.want {
				t.Errorf("%s\nis %s\nnot %s", test.in, got, test.want)
			}
		})
	}
}

// TestSearchFindsAllBadEntries: runs that halve a range find each bad entry, and no other, in few steps.
func TestSearchFindsAllBadEntries(t *testing.T) {
	for _, test := range []struct{ n, every, first, most int }{
		{1, 1, 0, 2}, {1000, 2000, 0, 15}, {1000, 2000, 999, 15}, {1000, 2000, 500, 15}, {1000, 500, 250, 40},
		{1000, 100, 50, 110}, {1000, 10, 5, 600}, {1000, 1, 0, 1100},
	} {
		t.Run(fmt.Sprintf("every %d of %d from %d", test.every, test.n, test.first), func(t *testing.T) {
			bad := func(x int) bool { return x >= test.first && (x-test.first)%test.every == 0 }
			var s search
			found, runs := map[int]bool{}, 0
			s.noteFailed(0, test.n)
			for pos := 0; pos < test.n; {
				hi := s.nextRunEnd(pos, test.n)
				if hi <= pos || hi > test.n {
					t.Fatalf("a run from %d to %d", pos, hi)
				}
				runs++
				fails := false
				for x := pos; x < hi; x++ {
					fails = fails || bad(x)
				}
				switch {
				case !fails:
					pos = hi
				case hi == pos+1:
					found[pos] = true
					pos = hi
					s.noteFound()
				default:
					s.noteFailed(pos, hi)
				}
			}
			for x := range test.n {
				if bad(x) != found[x] {
					t.Errorf("entry %d: bad %v, found %v", x, bad(x), found[x])
				}
			}
			if runs > test.most {
				t.Errorf("%d runs for %d bad entries", runs, len(found))
			}
		})
	}
}
