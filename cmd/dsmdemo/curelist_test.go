package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// cure is what an error, the log or doctor tells a person to do, by words that are found in the source.
type cure struct {
	words string
	by    string // the test that carries it out and sees that the symptom is gone; or "skipped: " and why there is none
}

var cureList = []cure{
	// Doctor's.
	{"chmod go-w ", "TestCuresOfDoctor"},
	{"rm -r ", "TestCuresOfDoctor"},
	{"run as the owner of ", "TestCuresOfCommands"},
	{"choose another directory: --dir DIR, DSM_DIR", "TestCuresOfCommands"},
	{"mount -o remount,rw the file system of ", "TestMachineCuresOfDoctor"},
	{"chmod u+rwx ", "TestCuresOfCommands"},
	{"make room, or ", "TestMachineCuresOfErrors"},
	{"dsmctl supervise --dir ", "TestCuresOfCommands"},
	{"run the programs of one version; or stop those of the other", "TestLastLayoutBesideThisOne"},
	{"work in the container that they run in, or unmount what hides their memory", "TestCureOfAHiddenMemory"},
	{"look again in a second", "skipped: it names no action; the next second is what all tests wait for"},
	{"mend what the error names, and look again", "skipped: it points at another cure of this list"},
	{"dsmctl clean --dir ", "TestMachineCuresOfDoctor"},
	{"raise Options.Command", "skipped: it is an option of the program; TestBadSizesAreRefused of batch/shared has the symptom"},
	{"dsmctl clean --orphans", "TestMachineCuresOfDoctor"},
	{"dsmctl clean", "TestDoctorLeavesPrivateInstances"},
	{"see what is in the way: ls -ld ", "skipped: it is a look, which changes nothing"},
	{"see which process has the instance's memory mapped: grep -l ", "skipped: it is a look, which changes nothing"},
	{"restart the supervisor", "TestCuresOfCommands"},
	{"stop it, or move the directory back", "skipped: TestLeaveThatIsRefused of supervisor moves it back"},
	{"raise max_segments in dsm.conf, stop the sessions and start the supervisor again",
		"skipped: a restart with more rows is what TestCuresOfCommands does with max_processes"},
	{"kill -CONT ", "TestCureOfAStoppedHolder"},
	{"sysctl -w kernel.shmmax=", "TestMachineCuresOfDoctor"},
	{"sysctl -w kernel.shmall=", "TestMachineCuresOfDoctor"},
	{"sysctl -w kernel.shmmni=", "TestMachineCuresOfDoctor"},
	{"sysctl -w kernel.shm_rmid_forced=0", "TestMachineCuresOfDoctor"},
	{"sysctl -w vm.overcommit_ratio=90", "skipped: to spoil it refuses memory to every process of the machine"},
	{"sysctl -w vm.max_map_count=262144", "TestMachineCuresOfDoctor"},
	{"docker run --ipc=container:NAME",
		"skipped: it wants docker; TestOtherMemory of supervisor has the same namespaces"},
	{"dynamic_shared_memory_type = posix", "skipped: it wants a kernel without System V memory"},
	{"raise the limit (docker run --memory=", "skipped: it wants a memory control group of the test's own"},
	{"MB makes it an error (ErrQuota)", "skipped: it wants a memory control group of the test's own"},
	{"ulimit -n ", "TestCuresOfLimits"},
	{"ulimit -f ", "TestCuresOfLimits"},
	{"ulimit -v ", "TestCuresOfLimits"},
	{"loginctl enable-linger ", "skipped: it wants systemd"},
	{"mkdir /dev/shm && mount -t tmpfs",
		"skipped: it wants a /dev without shm; the mount alone is TestMachineCuresOfDoctor's"},
	{"mount -t tmpfs -o mode=1777 tmpfs /dev/shm", "TestMachineCuresOfDoctor"},
	{"mount -o remount,rw /dev/shm", "TestMachineCuresOfDoctor"},
	{"chmod 1777 /dev/shm", "TestMachineCuresOfDoctor"},
	{"mount -o remount,size=1g /dev/shm", "TestMachineCuresOfDoctor"},
	{"ls -lS /dev/shm", "TestMachineCuresOfDoctor"},
	{"or lower min_dynamic_shared_memory", "skipped: the other half of that line is TestMachineCuresOfDoctor's"},
	{"if no such instance runs in a container or for another user: rm ", "TestMachineCuresOfDoctor"},
	{"run as that user", "TestCuresOfCommands"},
	{"ipcrm -m ", "TestMachineCuresOfDoctor"},
	{"set mmap_directory to one on tmpfs, ext4 or xfs", "TestCureOfACopyOnWriteFileSystem"},

	// Errors'.
	{"raise it, and restart the supervisor", "TestCuresOfCommands"},
	{"no inodes left: remove files there, or set mmap_directory to another one", "TestMachineCuresOfErrors"},
	{"make room, or set mmap_directory to a larger one", "TestMachineCuresOfErrors"},
	{"give it more (mount -o remount,nr_inodes=", "TestMachineCuresOfErrors"},
	{"enlarge it (mount -o remount,size=", "TestMachineCuresOfErrors"},
	{"mount one or choose another dynamic_shared_memory_type", "skipped: it wants a /dev without shm"},
	{"free memory or choose another dynamic_shared_memory_type", "skipped: it is for other systems than Linux"},
	{"raise that limit", "TestMachineCuresOfErrors"},
	{"enlarge the page file or free memory", "skipped: it is for Windows"},
	{"is in the way: remove it", "TestCuresOfAStart"},
	{"is a directory where a file belongs: remove it", "TestCuresOfAStart"},
	{"is not a regular file: remove it", "TestCuresOfAStart"},
	{"chown it, or remove it", "TestCuresOfCommands"},
	{"upgrade the program of", "TestLastLayoutBesideThisOne"},
	{"upgrade this program, or stop", "TestLastLayoutBesideThisOne"},
	{"set on_other_version = fence", "TestLastLayoutBesideThisOne"},
	{"no room in the address space (ulimit -v), or too many mappings (vm.max_map_count)", "TestCuresOfLimits"},
	{"no directory for the instance: set DSM_DIR", "TestCureOfNoHome"},
	{"is there no /proc here? mount it (mount -t proc proc /proc)", "TestCureOfAMissingProc"},
	{"choose a local directory (--dir, DSM_DIR)", "skipped: it wants a network file system"},
	{"choose a directory on a local file system", "skipped: it wants a file system without locks"},
	{"start one with: dsmctl supervise --dir ", "TestCuresOfCommands"},
	{"is a symbolic link that leads nowhere: remove it", "TestCuresOfAStart"},
	{"is a symbolic link: remove it, and set mmap_directory", "TestCuresOfAStart"},
	{"is not a directory: remove it, or set mmap_directory to one", "TestCuresOfAStart"},
	{"stop that one first, or choose another directory", "TestCuresOfCommands"},
	{"run as the owner (an instance is for the processes of one user)", "TestCuresOfCommands"},
	{"that process is stopped: continue or kill it", "TestCureOfAStoppedHolder"},
	{"has not heard of the new one: continue or kill it",
		"skipped: TestMembersFileRemovedUnderAStoppedSession of supervisor does both"},
	{"raise this process's limit of open files (ulimit -n, LimitNOFILE= in a unit)", "TestCuresOfLimits"},
	{"raise the machine's limit of open files (fs.file-max)",
		"skipped: to spoil it refuses files to every process of the machine"},
	{"counts shared memory too: raise it", "TestCuresOfLimits"},
	{"mount it read-write, or choose another directory", "TestCureOfAReadOnlyMount"},
	{"stop them, or work where they run", "TestCureOfAHiddenMemory"},
	{"Make room, or set mmap_directory to another one",
		"skipped: it comes from a store into a snapshotted file on a full btrfs, which no command makes"},
	{"start it anew where it shall be: dsmctl supervise --dir ", "TestCuresOfCommands"},
	{"mend the setting that is named; dsmctl show lists those there are", "skipped: it points at what the error before it names"},
	{"see dsmctl doctor)", "skipped: it points at doctor's cures; what removes the memory is systemd"},
}

// looksLikeCure finds what tells a person to do something, or a command line. The library names dsmctl, the program that an operator
// has; a text that names the command of dsmdemo is found, and is not in the list.
var looksLikeCure = regexp.MustCompile(`\bdsm(ctl|demo) (clean|supervise|doctor|show|ls)\b|^(chmod|chown|ulimit|sysctl|mount|umount|ipcrm|kill|rm|ls|mkdir|loginctl) ` +
	`|: ((re)?mount|chmod|chown|remove|raise|choose|set|enlarge|free|continue|run|start|stop|make room|upgrade|restart) ` +
	`|; (mount|chmod|raise|choose|set|stop|start) |, or (set|choose|stop|run|work) |^(run|restart|raise|set|make|work|look|choose|stop|see) `)

// notCures are texts that look like one and tell of something else.
var notCures = regexp.MustCompile(`^kill -9 of|^set (of|NAME KEY)|: start |^run %`)

// TestEveryCureIsCarriedOut compares the list with the source: each text that tells a person what to do is listed, what is
// listed is in the source, and the tests that it names exist.
func TestEveryCureIsCarriedOut(t *testing.T) {
	tests := testsHere(t)
	found := make([]bool, len(cureList))
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "bench" || name == "examples" || name == "tools" || name == "chaos" || name == "testdata" ||
			name == "proctest" || name == "settings" || len(name) > 2 && name[0] == '.') {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		for at, text := range literals(t, path) {
			listed := false
			for i, c := range cureList {
				if strings.Contains(text, strings.TrimSuffix(c.words, " ")) {
					listed, found[i] = true, true
				}
			}
			if !listed && looksLikeCure.MatchString(text) && !notCures.MatchString(text) {
				t.Errorf("%s:%d tells a person what to do, and is not in the list of cures: %q", path, at, text)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cureList {
		if !found[i] {
			t.Errorf("%q is in the list of cures, and not in the source", c.words)
		}
		if !strings.HasPrefix(c.by, "skipped: ") && !tests[c.by] {
			t.Errorf("%q: there is no test %s here", c.words, c.by)
		}
		if why, skipped := strings.CutPrefix(c.by, "skipped: "); skipped {
			t.Logf("not carried out here: %q: %s", c.words, why)
		}
	}
}

// literals are a file's string constants by line, those that are joined by + as one, with ... for what is no constant.
func literals(t *testing.T, path string) map[int]string {
	t.Helper()
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BinaryExpr, *ast.BasicLit:
			if text := textOf(n.(ast.Expr)); text != "..." {
				found[files.Position(n.Pos()).Line] += text
			}
			if b, is := n.(*ast.BinaryExpr); is && b.Op != token.ADD {
				return true
			}
			return false
		}
		return true
	})
	return found
}

func textOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			s, _ := strconv.Unquote(e.Value)
			return s
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return textOf(e.X) + textOf(e.Y)
		}
	}
	return "..."
}

// testsHere are the names of this package's tests, whatever the system and tags that they are for.
func testsHere(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	list, _ := filepath.Glob("*_test.go")
	for _, path := range list {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(t `).FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
	}
	return names
}
