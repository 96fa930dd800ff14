//go:build linux || darwin || freebsd

package instance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/settings"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// FuzzFiles: whatever a directory's small files hold, a session is told ErrNoInstance or
// ErrCorrupt, what is not the instance's is left alone, and a start works, after which all is well.
func FuzzFiles(f *testing.F) {
	id, other := uuid.New(), uuid.New()
	sample := func(change func(*Record)) []byte {
		r := Record{Instance: id, Life: other, Layout: control.LayoutVersion, Generation: 3, Backend: "mmap", Settings: map[string]string{"max_processes": "5"},
			SupervisorPid: 7}
		change(&r)
		b, _ := json.Marshal(r)
		return b
	}
	whole := sample(func(*Record) {})
	idFile, _ := json.Marshal(identity{Instance: id})
	holder, _ := json.Marshal(Holder{Pid: 1, Application: "x"})
	const sealed, here = 1, 2 // of ours: the seals are right; id and instance name this very directory
	f.Add(idFile, whole, holder, "3", uint8(sealed|here))
	f.Add(idFile, whole, holder, "18446744073709551615", uint8(sealed|here))
	f.Add(idFile, whole, holder, "007", uint8(sealed))
	f.Add(idFile, whole, holder, "3.2", uint8(0))
	f.Add(idFile, sample(func(r *Record) { r.Generation = 1<<64 - 1 }), []byte("null"), "1", uint8(sealed|here))
	f.Add(idFile, sample(func(r *Record) { r.Instance = other }), []byte("{}"), "1", uint8(sealed|here))
	f.Add(idFile, sample(func(r *Record) {
		r.Backend = "posix"
		r.MmapDirectory = "relative"
	}), []byte("[]"), "", uint8(sealed|here))
	f.Add([]byte(`{"instance":"00000000-0000-0000-0000-000000000000"}`), []byte("{}"), holder, "1", uint8(sealed|here))
	f.Add([]byte("null"), []byte(`{"settings":null}`), holder, "1", uint8(sealed|here))

	f.Fuzz(func(t *testing.T, idText, recordText, holderText []byte, members string, how uint8) {
		dir, err := os.MkdirTemp("", "dsm")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		d, err := OpenDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if how&here != 0 {
			idText, recordText = named[identity](d, idText), named[Record](d, recordText)
		}
		write := func(name string, b []byte, seals bool) {
			if b = bytes.Clone(b); seals {
				b = fmt.Appendf(b, "\ncrc32 %08x\n", crc32.ChecksumIEEE(b))
			}
			if err := os.WriteFile(d.file(name), b, 0o600); err != nil && members == "" {
				t.Fatal(err)
			}
		}
		write("id", idText, how&sealed != 0)
		write("instance", recordText, how&sealed != 0)
		write("supervisor", holderText, how&sealed != 0)
		if !strings.ContainsAny(members, "/\x00") && len(members) < 200 {
			write("members."+members, recordText, false)
		}
		theirs := filepath.Join(dir, "elsewhere", dsmimpl.Object{Life: uuid.Max, Generation: 3, Handle: 5}.Name())
		if err := errors.Join(os.Mkdir(d.file("elsewhere"), 0o700), os.WriteFile(theirs, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		tryFiles(t, d)
		if _, err := os.Stat(theirs); err != nil {
			t.Errorf("somebody else's file: %v", err)
		}
	})
}

// named is a value's text, with the directory in it as if it had been written here.
func named[T any](d *Dir, text []byte) []byte {
	var v T
	if json.Unmarshal(text, &v) != nil {
		return text
	}
	boot, _ := bootID()
	switch v := any(&v).(type) {
	case *identity:
		v.Dir, v.Boot = d.Identity(), boot
	case *Record:
		v.Dir, v.Boot = d.Identity(), boot
		if v.MmapDirectory != "" {
			v.MmapDirectory = d.file("elsewhere")
		}
	}
	b, _ := json.Marshal(v)
	return b
}

func tryFiles(t *testing.T, d *Dir) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	log := zerolog.Nop()
	set, err := Backends{}.Load(d.Path, map[string]string{"dynamic_shared_memory_type": "mmap",
		"max_processes": "2", "max_segments": "2"})
	if err != nil {
		t.Fatal(err)
	}
	known := func(what string, err error) {
		if !errors.Is(err, errkind.Corrupt) && !errors.Is(err, errkind.NoInstance) {
			t.Errorf("%s = %v", what, err)
		}
	}
	unstated := &settings.Settings{}
	record, err := d.ReadRecord()
	if err != nil {
		known("ReadRecord", err)
	}
	_ = d.Stale(record)
	_ = d.holder()
	who := Who("fuzz")
	if m, err := d.Connect(ctx, Backends{}, unstated, who, log); err == nil {
		t.Fatalf("joined %+v", m.Books.Record)
	} else if !errors.Is(err, errkind.Unsupported) { // an unknown backend
		known("Connect", err)
	}

	last, err := d.Last(ctx, Backends{}, 0, log)
	if err != nil {
		t.Fatalf("Last = %v", err)
	}
	_, _ = last.Clear(ctx, who)
	backend, err := Backends{}.Of("mmap", set.MmapDirectory)
	if err != nil {
		t.Fatal(err)
	}
	m, err := d.Begin(ctx, Birth{Instance: last.Instance, Generation: last.Generation + 1, Settings: set,
		Backend: backend, Who: who}, log)
	if err != nil {
		t.Fatalf("a start after %+v: %v", record, err)
	}
	defer m.Books.Close()
	session, err := d.Connect(ctx, Backends{}, unstated, who, log)
	if err != nil {
		t.Fatalf("a session of %+v: %v", m.Books.Record, err)
	}
	err = session.Leave(ctx)
	session.Books.Close()
	if err = errors.Join(err, m.End(ctx, 0, false)); err != nil {
		t.Error(err)
	}
	if err := d.Conclude(ctx, Backends{}, m.Books.Record, log); err != nil {
		t.Error(err)
	}
	if left := objectlist.Objects([]uuid.UUID{m.Books.Record.Life}, d.file("mmap")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
