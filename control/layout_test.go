package control

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/godsm/godsm/shm/shmsync"
)

// TestLayout compares the tables of doc/layouts.md with the code.
func TestLayout(t *testing.T) {
	text, err := os.ReadFile("../doc/layouts.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, c := range map[string]struct {
		typ  reflect.Type
		size uintptr // 0: of no matter
	}{
		"Header":      {reflect.TypeFor[header](), 0},
		"Constants":   {reflect.TypeFor[constants](), 0},
		"Process row": {reflect.TypeFor[processRow](), processRowSize},
		"Segment row": {reflect.TypeFor[segmentRow](), segmentRowSize},
		"Page word":   {reflect.TypeFor[pageWord](), pageWordSize},
		"Tally":       {reflect.TypeFor[tally](), tallySize},
		"Tallied":     {reflect.TypeFor[tallied](), 0},
		"Event":       {reflect.TypeFor[eventRow](), eventRowSize},
		"Mailbox":     {reflect.TypeFor[shmsync.MailboxWord](), mailboxSize},
	} {
		var want []string
		for f := range c.typ.Fields() {
			if f.Name != "_" {
				want = append(want, fmt.Sprintf("| %d | %d | %s |", f.Offset, f.Type.Size(), f.Name))
			}
		}
		if got := table(string(text), heading); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: the document says\n%s\nthe code\n%s",
				heading, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if c.size != 0 && c.typ.Size() != c.size {
			t.Errorf("%s has %d bytes, want %d", heading, c.typ.Size(), c.size)
		}
	}
	h := reflect.TypeFor[header]()
	version, _ := h.FieldByName("version")
	k, _ := h.FieldByName("constants")
	if version.Offset != checksumFrom || k.Offset+k.Type.Size() != checksumTo || h.Size() > headerSize {
		t.Errorf("the checksum covers %d to %d, want %d to %d",
			checksumFrom, checksumTo, version.Offset, k.Offset+k.Type.Size())
	}
}

// table is the rows under a heading, without the two that head them.
func table(text, heading string) (rows []string) {
	_, text, _ = strings.Cut(text, "\n"+heading+" ")
	if text == "" {
		_, text, _ = strings.Cut(text, "\n"+heading+":")
	}
	started := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "|") {
			started = true
			rows = append(rows, line)
		} else if started {
			break
		}
	}
	if len(rows) < 2 {
		return nil
	}
	return rows[2:]
}

func TestSizeWithDefaultLimits(t *testing.T) {
	if n := Size(Limits{Processes: 256, Segments: 4096}); n >= 1<<20 {
		t.Errorf("%d bytes, want less than 1 MiB", n)
	}
}
