package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sort"
	"strings"
)

// key names a rule in a folder.
type key struct{ folder, rule string }

func (k key) less(o key) bool {
	return k.folder < o.folder || k.folder == o.folder && k.rule < o.rule
}

// allowed holds numbers of findings.
type allowed map[key]int

// readAllowed reads lines of the form "folder rule number". A file that does not exist permits nothing.
func readAllowed(name string) (allowed, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return allowed{}, nil
	}
	if err != nil {
		return nil, err
	}
	a := allowed{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var k key
		var n int
		if _, err := fmt.Sscanf(line, "%s %s %d", &k.folder, &k.rule, &n); err != nil || n <= 0 {
			return nil, fmt.Errorf("%s: the line %q is not a folder, a rule and a number above 0", name, line)
		}
		if a[k] != 0 {
			return nil, fmt.Errorf("%s: two lines for rule %s in %s", name, k.rule, k.folder)
		}
		a[k] = n
	}
	return a, nil
}

// exceeded returns where more was found than is allowed.
func (a allowed) exceeded(found allowed) (keys []key) {
	for k, n := range found {
		if n > a[k] {
			keys = append(keys, k)
		}
	}
	return keys
}

// lowered returns the numbers that a file has after a look: what was found, and never more than before.
func (a allowed) lowered(found allowed) allowed {
	next := allowed{}
	for k, n := range a {
		if m := min(n, found[k]); m > 0 {
			next[k] = m
		}
	}
	return next
}

func (a allowed) sum() (n int) {
	for _, x := range a {
		n += x
	}
	return n
}

// String returns the text of the file.
func (a allowed) String() string {
	keys := make([]key, 0, len(a))
	for k := range a {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i].less(keys[j]) })
	var b strings.Builder
	b.WriteString("# What each folder still may have of each rule's findings; see main.go. The numbers only fall: -write lowers them.\n")
	for _, k := range keys {
		fmt.Fprintf(&b, "%s %s %d\n", k.folder, k.rule, a[k])
	}
	return b.String()
}
