// Package settings resolves what can be set: from the file dsm.conf, the environment and the program, later ones
// winning. Names, grammar and units are PostgreSQL's. All faults are reported together.
package settings

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/errkind"
)

// Values are the settings in effect.
type Values struct {
	DynamicSharedMemoryType string
	MmapDirectory           string // absolute
	MaxProcesses            int
	MaxSegments             int
	MaxSegmentsPerProcess   int    // 0: no limit
	MaxMemory               uint64 // bytes; 0: no limit
	MaxMemoryPerProcess     uint64 // bytes; 0: no limit
	MinDynamicSharedMemory  uint64 // bytes; 0: none
	OnCrash                 string // "reclaim" or "restart"
	OnOtherVersion          string // "refuse" or "fence"
	ShutdownTimeout         time.Duration
	Checked                 bool
}

// Setting is one of them, as people see it.
type Setting struct {
	Name    string
	Value   string // as it would be written in dsm.conf
	Unit    string // of plain numbers; empty if the value is none
	Default string
	Source  string // "default", "FILE:LINE", "environment DSM_...", "program"
	About   string
}

// Settings are all of them, resolved.
type Settings struct {
	Values
	List []Setting
}

// ErrInvalid is of wrong settings: an unknown name, an invalid value, another value than the running instance has.
var ErrInvalid = errors.New("invalid settings")

// OfFile returns the settings that come from dsm.conf.
func (s *Settings) OfFile() []Setting {
	return slices.DeleteFunc(slices.Clone(s.List), func(x Setting) bool {
		return x.Source == program || x.Source == dflt || strings.HasPrefix(x.Source, environment)
	})
}

// Stated returns the settings that the environment or the program names: what a session says, as opposed to what the
// instance's own file says.
func (s *Settings) Stated() []Setting {
	return slices.DeleteFunc(slices.Clone(s.List), func(x Setting) bool {
		return x.Source != program && !strings.HasPrefix(x.Source, environment)
	})
}

const (
	program     = "program"
	dflt        = "default"
	environment = "environment "
)

// definition is one setting: what it accepts and where the value goes.
type definition struct {
	name, unit, dflt, about string
	accepts                 string
	set                     func(v *Values, text string) error // the text's own fault only
	show                    func(v *Values) string
}

var definitions = []definition{
	{
		// what it accepts and its default: see Load
		name: "dynamic_shared_memory_type", about: "where segments come from",
		set:  func(v *Values, s string) error { v.DynamicSharedMemoryType = s; return nil },
		show: func(v *Values) string { return v.DynamicSharedMemoryType },
	},
	{
		name: "mmap_directory", dflt: "mmap",
		about:   "directory for the files of the type mmap; relative to the instance's",
		accepts: "a path",
		set:     func(v *Values, s string) error { v.MmapDirectory = s; return nil },
		show:    func(v *Values) string { return v.MmapDirectory },
	},
	{
		name: "max_processes", unit: "sessions", dflt: "256", about: "rows of the process table",
		accepts: "a number from 1 to 2045",
		set:     func(v *Values, s string) error { return parseNumber(&v.MaxProcesses, s, 1, 2045) },
		show:    func(v *Values) string { return strconv.Itoa(v.MaxProcesses) },
	},
	{
		name: "max_segments", unit: "segments", dflt: "auto",
		about:   "rows of the segment table; auto is 64 + 5 x max_processes, at least 4096",
		accepts: "auto or a number from 1 to 65534",
		set: func(v *Values, s string) error {
			if s == "auto" {
				v.MaxSegments = 0
				return nil
			}
			return parseNumber(&v.MaxSegments, s, 1, 65534)
		},
		show: func(v *Values) string { return strconv.Itoa(v.MaxSegments) },
	},
	{
		name: "max_segments_per_process", unit: "segments", dflt: "0",
		about:   "segments that one session may hold; 0 is no limit",
		accepts: "a number from 0 to 2147483647",
		set:     func(v *Values, s string) error { return parseNumber(&v.MaxSegmentsPerProcess, s, 0, math.MaxInt32) },
		show:    func(v *Values) string { return strconv.Itoa(v.MaxSegmentsPerProcess) },
	},
	{
		name: "max_memory", unit: "B", dflt: "0", about: "bytes of all segments together; 0 is no limit",
		accepts: memoryAccepts,
		set:     func(v *Values, s string) error { return parseMemory(&v.MaxMemory, s) },
		show:    func(v *Values) string { return showMemory(v.MaxMemory) },
	},
	{
		name: "max_memory_per_process", unit: "B", dflt: "0",
		about:   "bytes of the segments that one session holds; 0 is no limit",
		accepts: memoryAccepts,
		set:     func(v *Values, s string) error { return parseMemory(&v.MaxMemoryPerProcess, s) },
		show:    func(v *Values) string { return showMemory(v.MaxMemoryPerProcess) },
	},
	{
		name: "min_dynamic_shared_memory", unit: "B", dflt: "0", accepts: memoryAccepts,
		about: "bytes reserved at the start, out of which segments are made without asking the system; 0 is none",
		set:   func(v *Values, s string) error { return parseMemory(&v.MinDynamicSharedMemory, s) },
		show:  func(v *Values) string { return showMemory(v.MinDynamicSharedMemory) },
	},
	{
		name: "on_crash", dflt: "reclaim",
		about:   "what a restarted supervisor does with living sessions, and a running one after a crash",
		accepts: "reclaim or restart",
		set: func(v *Values, s string) error {
			v.OnCrash = s
			return checkOneOf(s, "reclaim", "restart")
		},
		show: func(v *Values) string { return v.OnCrash },
	},
	{
		name: "on_other_version", dflt: "refuse",
		about: "what a start does where sessions of a program with another layout version live; " +
			"fence ends them and drops what is pinned",
		accepts: "refuse or fence",
		set: func(v *Values, s string) error {
			v.OnOtherVersion = s
			return checkOneOf(s, "refuse", "fence")
		},
		show: func(v *Values) string { return v.OnOtherVersion },
	},
	{
		name: "shutdown_timeout", unit: "s", dflt: "5s", about: "how long a stopping supervisor waits for sessions",
		accepts: "a time from 0 to 24h in ms, s, min or h (a plain number is seconds)",
		set:     func(v *Values, s string) error { return parseDuration(&v.ShutdownTimeout, s) },
		show:    func(v *Values) string { return showDuration(v.ShutdownTimeout) },
	},
	{
		name: "checked", dflt: "off", about: "find uses of a segment after its Detach, at some cost",
		accepts: "on or off",
		set:     func(v *Values, s string) error { return parseBoolean(&v.Checked, s) },
		show: func(v *Values) string {
			if v.Checked {
				return "on"
			}
			return "off"
		},
	},
}

// Load resolves the settings of the instance in dir. Types are what dynamic_shared_memory_type
// accepts, the default first; prog is what the program sets. A missing dsm.conf is an empty one.
func Load(dir string, types []string, prog map[string]string) (*Settings, error) {
	lines, err := readFile(filepath.Join(dir, "dsm.conf"))
	return resolve(dir, types, prog, lines, err)
}

// LoadToLook does what Load does, for a process that only looks at what runs: a dsm.conf with faults, which the next start would be refused for,
// counts as empty, since it says nothing of an instance that was started before it was edited.
func LoadToLook(dir string, types []string, prog map[string]string) (*Settings, error) {
	s, err := Load(dir, types, prog)
	if err != nil {
		s, err = resolve(dir, types, prog, nil, nil)
	}
	return s, err
}

// resolve puts together the lines of the file, or why it can't be read, the environment and what the program sets.
func resolve(dir string, types []string, prog map[string]string, lines []line, unread error) (*Settings, error) {
	origins := map[string]origin{}
	var faults []error
	note := func(name, text, source string) {
		name = strings.ToLower(name)
		if !isKnown(name) {
			faults = append(faults, errUnknown(name, source))
			return
		}
		origins[name] = origin{text, source}
	}
	if unread != nil {
		faults = append(faults, unread)
	}
	for _, l := range lines {
		note(l.name, l.value, l.where)
	}
	for _, d := range definitions {
		key := prefix + strings.ToUpper(d.name)
		if text, ok := os.LookupEnv(key); ok {
			note(d.name, text, environment+key)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(prog)) {
		note(name, prog[name], program)
	}

	s := &Settings{}
	for _, d := range definitions {
		d = d.ofTypes(types)
		o, set := origins[d.name]
		if !set {
			o = origin{d.dflt, dflt}
		}
		if err := d.takeText(&s.Values, o); err != nil {
			faults = append(faults, err)
		}
		s.List = append(s.List, Setting{Name: d.name, Unit: d.unit, Default: d.dflt, Source: o.source, About: d.about})
	}
	if len(faults) > 0 {
		return nil, errkind.As(ErrInvalid, errors.Join(faults...))
	}
	s.derive(dir)
	for i, d := range definitions {
		s.List[i].Value = d.show(&s.Values)
	}
	return s, nil
}

// origin is what a process has set, and who.
type origin struct{ text, source string }

// ofTypes returns the definition where those are the types of shared memory there are.
func (d definition) ofTypes(types []string) definition {
	if d.name == "dynamic_shared_memory_type" {
		set := d.set
		d.dflt, d.accepts = types[0], strings.Join(slices.Compact(slices.Sorted(slices.Values(types))), ", ")
		d.set = func(v *Values, s string) error { return errors.Join(set(v, s), checkOneOf(s, types...)) }
	}
	return d
}

func (d definition) takeText(v *Values, o origin) error {
	if !utf8.ValidString(o.text) || strings.ContainsRune(o.text, 0) {
		// Nor could the file instance hold it.
		return fmt.Errorf("%s: %s = %q is not text in UTF-8", o.source, d.name, o.text)
	}
	if err := d.set(v, strings.TrimSpace(o.text)); err != nil {
		return fmt.Errorf("%s: %s = %q is %w; it takes %s", o.source, d.name, o.text, err, d.accepts)
	}
	return nil
}

// derive fills in what depends on something else.
func (s *Settings) derive(dir string) {
	if !filepath.IsAbs(s.MmapDirectory) {
		s.MmapDirectory = filepath.Join(dir, s.MmapDirectory)
	}
	if s.MaxSegments == 0 {
		s.MaxSegments = max(4096, 64+5*s.MaxProcesses)
	}
}

// Values, by kind. Errors say what the text is, to follow "NAME = TEXT is ...".

func checkOneOf(s string, accepted ...string) error {
	if !slices.Contains(accepted, s) {
		return errors.New("not known")
	}
	return nil
}

func parseNumber(to *int, s string, lo, hi int) error {
	n, err := strconv.Atoi(s)
	if err != nil {
		return errors.New("not a whole number")
	}
	if n < lo || n > hi {
		return errors.New("out of range")
	}
	*to = n
	return nil
}

func parseBoolean(to *bool, s string) error {
	switch strings.ToLower(s) {
	case "on", "true", "yes", "1":
		*to = true
	case "off", "false", "no", "0":
		*to = false
	default:
		return errors.New("neither on nor off")
	}
	return nil
}

const memoryAccepts = "a size in B, kB, MB, GB or TB (a plain number is bytes)"

// ParseBytes reads a size with or without a unit, as settings have it: 600kB.
func ParseBytes(s string) (n uint64, err error) {
	if err = parseMemory(&n, s); err != nil {
		err = fmt.Errorf("%q is %w; it takes %s", s, err, memoryAccepts)
	}
	return n, err
}

func parseMemory(to *uint64, s string) error {
	digits, unit := splitUnit(s)
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return errors.New("not a size")
	}
	shift, ok := map[string]uint{"": 0, "B": 0, "kB": 10, "MB": 20, "GB": 30, "TB": 40}[unit]
	if !ok {
		return fmt.Errorf("in the unknown unit %q", unit)
	}
	if n > math.MaxInt64>>shift {
		return errors.New("too large")
	}
	*to = n << shift
	return nil
}

func showMemory(n uint64) string {
	if n == 0 {
		return "0"
	}
	if n%(1<<40) == 0 {
		return strconv.FormatUint(n>>40, 10) + "TB" // the largest unit that is read
	}
	if s := strings.ReplaceAll(bytesize.Format(n), " ", ""); !strings.Contains(s, ".") {
		return s
	}
	return strconv.FormatUint(n, 10)
}

func parseDuration(to *time.Duration, s string) error {
	digits, unit := splitUnit(s)
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return errors.New("not a time")
	}
	scale, ok := map[string]time.Duration{"": time.Second, "ms": time.Millisecond, "s": time.Second,
		"min": time.Minute, "h": time.Hour}[unit]
	if !ok {
		return fmt.Errorf("in the unknown unit %q", unit)
	}
	if n > int64(24*time.Hour/scale) {
		return errors.New("too long")
	}
	*to = time.Duration(n) * scale
	return nil
}

func showDuration(d time.Duration) string {
	if d%time.Second == 0 {
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
}

// splitUnit cuts a number from its unit.
func splitUnit(s string) (digits, unit string) {
	i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimSpace(s[i:])
}
