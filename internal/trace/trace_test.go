package trace_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/trace"
)

var formats = []struct {
	format, text string
	keys         []uint64
	sizes        []uint32
	wrong        string // what the error says
}{
	{"be32", "\x00\x00\x00\x01\xff\xff\xff\xff", []uint64{1, 1<<32 - 1}, nil, ""},
	{"be32", "", nil, nil, ""},
	{"be32", "\x00\x00\x00\x01\xff", nil, nil, "in the middle of a key of 4 bytes, after 1 keys"},
	{"be64", "\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff", []uint64{1, 1<<64 - 1}, nil, ""},
	{"be64", "\x00\x00\x00\x01", nil, nil, "in the middle"},
	{"lirs", "5\n7\r\n*\n\n 5 \n*", []uint64{5, 7, 5}, nil, ""},
	{"lirs", "5\nx\n", nil, nil, "line 2"},
	{"lirs", "-5\n", nil, nil, "line 1"},
	{"arc", "10 3 0 0\n4 1 0 1\n9 0 0 2\n", []uint64{10, 11, 12, 4}, nil, ""},
	{"arc", "10\n", nil, nil, "line 1"},
	{"arc", "10 18446744073709551615 0 0\n", nil, nil, "line 1"},
	{"sized", "1 7 100\n2 8 0\n3 7 2147483647\n", []uint64{7, 8, 7}, []uint32{100, 0, 1<<31 - 1}, ""},
	{"sized", "1 7 2147483648\n", nil, nil, "too large"},
	{"sized", "1 7\n", nil, nil, "3 numbers"},
	{"lirs", strings.Repeat("1", 1<<17), nil, nil, "line 1"},
}

func TestFormats(t *testing.T) {
	for _, x := range formats {
		for _, packed := range []struct {
			name string
			pack func(t *testing.T, s string) []byte
		}{{"plain", plain}, {"gzip", zip}, {"xz", xz}} {
			t.Run(x.format+"/"+packed.name, func(t *testing.T) {
				got, err := trace.Read(t.Context(), "a file", x.format, bytes.NewReader(packed.pack(t, x.text)))
				if x.wrong != "" {
					if err == nil || !strings.Contains(err.Error(), x.wrong) || !strings.HasPrefix(err.Error(), "a file: ") {
						t.Errorf("%q: %v", x.text, err)
					}
					return
				}
				if err != nil || !slices.Equal(got.Keys, x.keys) || !slices.Equal(got.Sizes, x.sizes) {
					t.Errorf("%q: %v, %v", x.text, got, err)
				}
			})
		}
	}
}

func plain(_ *testing.T, s string) []byte { return []byte(s) }

func zip(t *testing.T, s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(s))
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func xz(t *testing.T, s string) []byte {
	cmd := exec.Command("xz", "-c")
	cmd.Stdin = strings.NewReader(s)
	b, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("skipped: there is no program xz")
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDamaged: what is cut short or garbled is an error, not a shorter trace.
func TestDamaged(t *testing.T) {
	text := strings.Repeat("12345\n77\n", 50_000)
	for name, pack := range map[string]func(*testing.T, string) []byte{"gzip": zip, "xz": xz} {
		t.Run(name, func(t *testing.T) {
			whole := pack(t, text)
			garbled := bytes.Clone(whole)
			garbled[len(garbled)/2] ^= 0x55
			for _, b := range [][]byte{whole[:len(whole)/2], whole[:len(whole)-3], garbled} {
				if got, err := trace.Read(t.Context(), "a file", "lirs", bytes.NewReader(b)); err == nil {
					t.Errorf("%d bytes: %d accesses and no error", len(b), len(got.Keys))
				}
			}
		})
	}
}

func TestNoSuchFormat(t *testing.T) {
	if _, err := trace.Read(t.Context(), "a file", "csv", strings.NewReader("")); !errors.Is(err, trace.ErrFormat) ||
		!strings.Contains(err.Error(), "be32") {
		t.Error(err)
	}
}

// TestContextOver: a trace that never ends is left when the context is over.
func TestContextOver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, x := range []struct{ format, text string }{
		{"arc", "0 9223372036854775807 0 0\n"}, {"lirs", strings.Repeat("1\n", 1<<17)}, {"be32", strings.Repeat("\x00", 1<<20)},
	} {
		if _, err := trace.Read(ctx, "a file", x.format, strings.NewReader(x.text)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", x.format, err)
		}
	}
}

func TestUnique(t *testing.T) {
	if n := trace.Unique(trace.Trace{Keys: []uint64{1, 2, 1}}, trace.Trace{Keys: []uint64{2, 3}}); n != 3 {
		t.Error(n)
	}
}
