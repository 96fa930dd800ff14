package sysv_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/sysv"
	"github.com/google/uuid"
)

const inNamespace = "DSM_TEST_IPC_NAMESPACE"

// TestKernelLimits runs itself in an IPC namespace of its own, where it can lower the limits.
func TestKernelLimits(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKernelLimits$", "-test.v")
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWIPC}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) {
			t.Skip("skipped: this user, or an emulator, may not make an IPC namespace")
		}
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	b, ctx := sysv.New(), context.Background()
	object := func(row int, size int) dsmimpl.Object {
		return dsmimpl.Object{Life: uuid.New(), Handle: 1<<16 | uint64(row), Size: size, CreatorPid: os.Getpid()}
	}
	set := func(name, value string) {
		if err := os.WriteFile("/proc/sys/kernel/"+name, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := b.Create(ctx, object(1, 1000)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, limit, value string
		size               int
		says               string
	}{
		{"one segment", "shmmax", "100000", 1 << 20, "the kernel's limit for one segment is 100000 (kernel.shmmax)"},
		{"all pages", "shmall", "100", 90 * 4096 * 10, "the kernel allows 100 (kernel.shmall)"},
		{"all segments", "shmmni", "1", 1000, "all 1 (kernel.shmmni) segments are in use"},
	} {
		before, _ := os.ReadFile("/proc/sys/kernel/" + c.limit)
		set(c.limit, c.value)
		_, _, err := b.Create(ctx, object(2, c.size))
		if !errors.Is(err, dsmimpl.ErrNoSpace) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to say %q", c.name, err, c.says)
		}
		set(c.limit, strings.TrimSpace(string(before)))
	}
	table, _ := os.ReadFile("/proc/sysvipc/shm")
	if n := strings.Count(string(table), "\n") - 1; n != 1 {
		t.Errorf("%d objects, want the first one alone", n)
	}
}

// TestForeignObjects: what stands under a key of ours but does not bear our marks is never attached or removed.
func TestForeignObjects(t *testing.T) {
	b, ctx := sysv.New(), context.Background()
	o := dsmimpl.Object{Life: uuid.New(), Generation: 3, Handle: 7<<16 | 5, Size: 5000, CreatorPid: os.Getpid()}
	m, word, err := b.Create(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	o.Word = word
	defer func() {
		_ = b.Detach(m)
		_ = b.Destroy(ctx, o)
		if m, err := b.Attach(ctx, o, dsmimpl.ReadWrite); err == nil {
			t.Error("it is still there")
			_ = b.Detach(m)
		}
	}()
	still := func(what string) {
		t.Helper()
		n, err := b.Attach(ctx, o, dsmimpl.ReadWrite)
		if err != nil {
			t.Fatalf("%s removed it: %v", what, err)
		}
		_ = b.Detach(n)
	}
	other := func(change func(*dsmimpl.Object)) dsmimpl.Object { x := o; change(&x); return x }
	for what, x := range map[string]dsmimpl.Object{
		"another life":                       other(func(x *dsmimpl.Object) { x.Life = uuid.New() }),
		"another generation":                 other(func(x *dsmimpl.Object) { x.Generation++ }),
		"another row":                        other(func(x *dsmimpl.Object) { x.Handle++ }),
		"another size":                       other(func(x *dsmimpl.Object) { x.Size = 50000 }),
		"another creator, while not written": other(func(x *dsmimpl.Object) { x.Word = 0; x.CreatorPid++ }),
		"another size, while not written":    other(func(x *dsmimpl.Object) { x.Word = 0; x.Size = 1 }),
		"a shmid that there is not":          other(func(x *dsmimpl.Object) { x.Word = 1 << 40 }),
	} {
		if what != "another creator, while not written" {
			if n, err := b.Attach(ctx, x, dsmimpl.ReadWrite); !errors.Is(err, dsmimpl.ErrNotFound) {
				t.Errorf("Attach of %s = %v, want ErrNotFound", what, err)
				if err == nil {
					_ = b.Detach(n)
				}
			}
		}
		if err := b.Destroy(ctx, x); err != nil {
			t.Errorf("Destroy of %s = %v, want success: it is not there", what, err)
		}
		still(what)
	}
}

const orphanOf = "DSM_TEST_ORPHAN_OF"

// TestCreatorInPidNamespace: a creator that died in another pid namespace before it wrote its
// shmid down knew itself by another pid than the kernel shows here; its object goes nevertheless.
func TestCreatorInPidNamespace(t *testing.T) {
	b, ctx := sysv.New(), context.Background()
	id := uuid.New()
	if of := os.Getenv(orphanOf); of != "" {
		id = uuid.MustParse(of)
	}
	o := dsmimpl.Object{Life: id, Generation: 1, Handle: 9<<16 | 3, Size: 100, CreatorPid: 1}
	if os.Getenv(orphanOf) != "" {
		if os.Getpid() != 1 {
			t.Fatal("not process 1")
		}
		if _, _, err := b.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestCreatorInPidNamespace$")
	cmd.Env = append(os.Environ(), orphanOf+"="+id.String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) {
		t.Skip("skipped: this user, or an emulator, may not make a pid namespace")
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	list := func() []dsmimpl.Object {
		found, err := b.(dsmimpl.Lister).List(ctx, id, 1)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	left := list()
	if len(left) != 1 || left[0].CreatorPid == 1 {
		t.Fatalf("%+v", left)
	}
	if err := b.Destroy(ctx, o); err != nil {
		t.Error(err)
	}
	if now := list(); len(now) != 0 {
		t.Errorf("%+v is left", now)
		_ = b.Destroy(ctx, left[0])
	}
}
