//go:build linux

package supervisor_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/supervisor"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

const nobody = 65534

func init() { proctest.Register("other user", otherUserHelper) }

// otherUserHelper: DIR OBJECT... It tries to read, change and remove what is another user's, and says what it could do.
func otherUserHelper(c *proctest.Child) error {
	if os.Geteuid() != nobody {
		return fmt.Errorf("running as user %d", os.Geteuid())
	}
	could := func(what string, err error) {
		if !errors.Is(err, fs.ErrPermission) {
			c.Say("could %s: %v", what, err)
		}
	}
	dir := c.Args[0]
	cfg := dsm.Config{Dir: dir}
	_, err := os.ReadDir(dir)
	could("list the directory", err)
	for _, name := range []string{"id", "lives", "instance", "supervisor", "mmap"} {
		_, err := os.Stat(filepath.Join(dir, name))
		could("see "+name, err)
	}
	_, err = dsm.Open(ctx, cfg)
	could("open a session", err)
	_, err = dsm.Inspect(ctx, cfg)
	could("inspect", err)
	_, err = supervisor.Start(ctx, config(dir, nil))
	could("start a supervisor", err)
	_, err = instance.Clean(ctx, dir, instance.Backends{}, instance.Who("other user"), zerolog.Nop())
	could("clean", err)
	for _, object := range c.Args[1:] {
		if _, id, ok := strings.Cut(object, "shmid "); ok {
			n, _ := strconv.Atoi(id)
			_, err = unix.SysvShmAttach(n, 0, unix.SHM_RDONLY)
			could("attach "+object, err)
			_, err = unix.SysvShmCtl(n, unix.IPC_RMID, nil)
			could("remove "+object, err)
			continue
		}
		for _, flags := range []int{os.O_RDONLY, os.O_WRONLY, os.O_RDWR} {
			_, err = os.OpenFile(object, flags, 0)
			could("open "+object, err)
		}
		could("truncate "+object, os.Truncate(object, 0))
		could("remove "+object, os.Remove(object))
		could("rename "+object, os.Rename(object, object+"x"))
	}
	c.Say("tried")
	return nil
}

// asNobody runs a helper as another user, who can't reach the test binary by its path.
func asNobody(t *testing.T, name string, args ...string) *proctest.Process {
	t.Helper()
	instancetest.NeedOtherUsers(t)
	state := instancetest.TempDir(t)
	if err := os.Chown(state, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := proctest.Command(name, args...)
	cmd.Env = append(cmd.Env, "XDG_STATE_HOME="+state)
	cmd.Path = "/proc/self/exe"
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return proctest.Run(t, cmd)
}

// TestAnotherUser can read nothing, change nothing and remove nothing, of a directory that is wide open to looks too.
func TestAnotherUser(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		for _, mode := range []os.FileMode{0o700, 0o755} {
			cfg := instancetest.Config(t, backend)
			if err := os.Chmod(cfg.Dir, mode); err != nil {
				t.Fatal(err)
			}
			instancetest.Start(t, cfg)
			s := instancetest.Open(t, cfg)
			g := create(t, s, 6)
			copy(g.Bytes(), "secret")
			objects := objectlist.Objects(instancetest.Lives(t, cfg.Dir), filepath.Join(cfg.Dir, "mmap"))
			if len(objects) != 2 {
				t.Fatalf("objects: %v", objects)
			}
			p := asNobody(t, "other user", append([]string{cfg.Dir}, objects...)...)
			for {
				l, ok := p.Line()
				if !ok || l == "tried" {
					if !ok {
						t.Errorf("it could not try all: %s", p.Stderr())
					}
					break
				}
				if mode == 0o755 && (strings.HasPrefix(l, "could list the directory") ||
					strings.HasPrefix(l, "could see")) {
					continue // names are no secret there
				}
				t.Errorf("mode %#o: another user %s", mode, l)
			}
			if string(g.Bytes()) != "secret" {
				t.Errorf("the bytes are %q", g.Bytes())
			}
		}
	})
}

// TestOrdinaryUserUnderPlants: root, or any user on a mount that all can write, puts a file where an ordinary
// user's control segment goes; the kernel's fs.protected_regular is of one opinion with our exclusive creation.
func TestOrdinaryUserUnderPlants(t *testing.T) {
	instancetest.NeedOtherUsers(t)
	level, _ := os.ReadFile("/proc/sys/fs/protected_regular")
	t.Logf("fs.protected_regular is %s", strings.TrimSpace(string(level)))
	dir := instancetest.TempDir(t)
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	start := func() string {
		p := asNobody(t, "supervise", dir)
		generation := p.Expect("ready ")
		noErr(t, p.Close())
		return generation
	}
	if g := start(); g != "1" {
		t.Errorf("generation %s", g)
	}
	path := "/dev/shm/" + plantedName(instancetest.Life(t, dir), 2)
	if err := errors.Join(os.WriteFile(path, []byte("root's"), 0o600), os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	if g := start(); g != "2" {
		t.Errorf("generation %s", g)
	}
	if got, err := os.ReadFile(path); string(got) != "root's" {
		t.Errorf("the planted file holds %q, %v", got, err)
	}
	_ = os.Remove(path)
	if left := objectlist.Objects(instancetest.Lives(t, dir)); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
