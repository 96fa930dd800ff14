package excerpt

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

var marked = regexp.MustCompile(`(?s)^(.*) \.\.\. \((\d+) bytes are left out\) \.\.\. (.*)$`)

// TestOfKeepsBeginningAndEnd: the two parts are the text's own, and the number between them is what is missing.
func TestOfKeepsBeginningAndEnd(t *testing.T) {
	for name, unit := range map[string]string{"ascii": "0123456789", "two bytes": "äöü", "three": "日本語", "four": "🙂🙃",
		"no UTF-8": "\x80\x81\xff", "zeros": "\x00"} {
		for _, size := range []int{least, 100, 112, 192, Value, Text} {
			for _, more := range []int{1, 2, 3, 4, 1000, 1 << 20} {
				text := strings.Repeat(unit, (size+more)/len(unit)+1)
				got := Of(text, size)
				parts := marked.FindStringSubmatch(got)
				if parts == nil || len(got) > size {
					t.Fatalf("%s: %d of %d bytes: %d bytes, %.40q", name, size, len(text), len(got), got)
				}
				n, _ := strconv.Atoi(parts[2])
				if !strings.HasPrefix(text, parts[1]) || !strings.HasSuffix(text, parts[3]) || n+len(parts[1])+len(parts[3]) != len(text) {
					t.Errorf("%s: %d of %d bytes: %q", name, size, len(text), got)
				}
				if len(parts[1]) < size/4 || len(parts[3]) < size/10 {
					t.Errorf("%s: %d of %d bytes: %d at the beginning, %d at the end", name, size, len(text), len(parts[1]), len(parts[3]))
				}
				if utf8.ValidString(text) && !utf8.ValidString(got) {
					t.Errorf("%s: %d of %d bytes: a rune is cut: %q", name, size, len(text), got)
				}
			}
		}
	}
}

func TestOfLeavesWhatFits(t *testing.T) {
	for _, text := range []string{"", "a", strings.Repeat("x", Value)} {
		if got := Of(text, Value); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestOfInASmallSpaceIsTheBeginning(t *testing.T) {
	for size := -1; size < least; size++ {
		got := Of(strings.Repeat("ä", least), size)
		if len(got) > max(size, 0) || len(got) < size-1 || !utf8.ValidString(got) {
			t.Errorf("%d bytes: %q", size, got)
		}
	}
}

func TestPrint(t *testing.T) {
	for value, want := range map[any]string{"oh no": "oh no", errors.New("bad"): "bad", 7: "7", nil: "<nil>"} {
		if got := Print(value); got != want {
			t.Errorf("%v: %q", value, got)
		}
	}
	if got := Print(fmt.Errorf("begin%send", strings.Repeat("x", 50<<20))); len(got) > Value ||
		!strings.HasPrefix(got, "beginx") || !strings.HasSuffix(got, "xend") {
		t.Errorf("%q", got)
	}
}
