package instance

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/settings"
	"github.com/godsm/godsm/internal/sys/atomicfile"
	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/google/uuid"
)

// LayoutVersion is that of the control segments which this program makes and uses.
const LayoutVersion = control.LayoutVersion

// Record is what is written down of a life: in the file instance, of the present one or the last, and in the file lives.
type Record struct {
	Instance      uuid.UUID         `json:"instance"`
	Life          uuid.UUID         `json:"life"`
	Layout        int               `json:"layout"` // version of the control segment's
	Generation    uint64            `json:"generation"`
	Backend       string            `json:"backend"`        // empty: not known
	Control       string            `json:"control"`        // where a person finds the control segment
	MmapDirectory string            `json:"mmap_directory"` // relative if it is in the instance's own
	Memory        string            `json:"memory"`         // the mount or namespace of its objects; empty if it can't be told
	Private       bool              `json:"private"`
	Settings      map[string]string `json:"settings"`       // the supervisor's, for the instance's life
	SupervisorPid int               `json:"supervisor_pid"` // of the one that began it
	Boot          string            `json:"boot"`
	Dir           liveness.Identity `json:"dir"`
}

// lastUnnamedLayout is the last layout version whose objects bore the instance's uuid: a record of such a life names
// neither version nor life.
const lastUnnamedLayout = 3

// plain is Record without its methods.
type plain Record

// MarshalJSON keeps bytes of paths that are no UTF-8.
func (r Record) MarshalJSON() ([]byte, error) {
	p := plain(r)
	p.Control, p.MmapDirectory, p.Memory = wrapRecordText(r.Control), wrapRecordText(r.MmapDirectory), wrapRecordText(r.Memory)
	p.Settings = map[string]string{}
	for name, value := range r.Settings {
		p.Settings[name] = wrapRecordText(value)
	}
	return json.Marshal(p)
}

// UnmarshalJSON undoes MarshalJSON, and completes a record of an earlier version.
func (r *Record) UnmarshalJSON(b []byte) error {
	var p plain
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	p.Control, p.MmapDirectory, p.Memory = unwrapRecordText(p.Control), unwrapRecordText(p.MmapDirectory), unwrapRecordText(p.Memory)
	for name, value := range p.Settings {
		p.Settings[name] = unwrapRecordText(value)
	}
	if p.Life == uuid.Nil {
		p.Life, p.Layout = p.Instance, lastUnnamedLayout
	}
	*r = Record(p)
	return nil
}

const wrapping = "base64:"

func wrapRecordText(s string) string {
	if utf8.ValidString(s) && !strings.HasPrefix(s, wrapping) {
		return s
	}
	return wrapping + base64.StdEncoding.EncodeToString([]byte(s))
}

func unwrapRecordText(s string) string {
	if text, ok := strings.CutPrefix(s, wrapping); ok {
		if b, err := base64.StdEncoding.DecodeString(text); err == nil {
			return string(b)
		}
	}
	return s
}

// unnamed reports whether the life's objects bear the instance's uuid.
func (r Record) unnamed() bool { return r.Life == r.Instance }

// sameLife reports whether both are of one life. Names bear no more than the short form.
func (r Record) sameLife(o Record) bool {
	return dsmimpl.ShortID(r.Life) == dsmimpl.ShortID(o.Life) && (!r.unnamed() || !o.unnamed() ||
		r.Generation == o.Generation)
}

// membersFile returns the name of the life's members file.
func (r Record) membersFile() string {
	if r.unnamed() {
		return membersPrefix + strconv.FormatUint(r.Generation, 10)
	}
	return membersPrefix + dsmimpl.LifeText(r.Life)
}

func (r Record) String() string {
	if r.unnamed() {
		return fmt.Sprintf("generation %d", r.Generation)
	}
	return "life " + dsmimpl.LifeText(r.Life)
}

// recordGenerationIsPlausible reports whether a generation can be one. There is room for the next.
func recordGenerationIsPlausible(generation uint64) bool { return generation > 0 && generation < 1<<48 }

// checkFields returns an error for a record that is invalid.
func (r Record) checkFields(file string) error {
	if r.Instance == uuid.Nil || r.Life == uuid.Nil || !recordGenerationIsPlausible(r.Generation) || r.Backend == "" {
		return errkind.As(errkind.Corrupt,
			fmt.Errorf("%s: its instance, life, generation or backend is invalid", file))
	}
	return nil
}

// ReadRecord reads the file instance. A missing one is ErrNoInstance, a damaged one ErrCorrupt.
func (d *Dir) ReadRecord() (Record, error) {
	var r Record
	switch err := atomicfile.ReadIn(d.Folder, "instance", &r); {
	case errors.Is(err, fs.ErrNotExist):
		return r, NoInstance(d.Path, "nothing has been started there")
	case errors.Is(err, atomicfile.ErrGarbage):
		return Record{}, errkind.As(errkind.Corrupt, err)
	case err != nil:
		return Record{}, errkind.Classify(err)
	}
	if err := r.checkFields(d.file("instance")); err != nil {
		return Record{}, err
	}
	return r, nil
}

// WriteRecord writes the file instance.
func (d *Dir) WriteRecord(r Record) error { return atomicfile.WriteIn(d.Folder, "instance", r) }

// Stale reports whether a later life than r's has begun, as far as the file tells.
func (d *Dir) Stale(r Record) bool {
	now, err := d.ReadRecord()
	return err == nil && (now.Instance != r.Instance || now.Life != r.Life || now.Generation != r.Generation)
}

// Disagreement returns an error for each setting that a session states otherwise than the instance has it; nil if there
// is none.
func (r Record) Disagreement(s *settings.Settings) error {
	return errkind.As(settings.ErrInvalid, r.differences(s.Stated()))
}

// Waiting returns an error for each setting that dsm.conf has otherwise than the instance: they hold when it begins anew, and
// not before. It returns nil if there is none.
func (r Record) Waiting(s *settings.Settings) error { return r.differences(s.OfFile()) }

func (r Record) differences(list []settings.Setting) error {
	var faults []error
	for _, x := range list {
		if is, ok := r.Settings[x.Name]; ok && is != x.Value {
			faults = append(faults, fmt.Errorf("%s: %s = %s, but the running instance has %s",
				x.Source, x.Name, x.Value, is))
		}
	}
	return errors.Join(faults...)
}

// recordIsInOwnDirectory reports whether the life's objects are files of the instance's own directory.
func (r Record) recordIsInOwnDirectory() bool {
	return r.Backend == "mmap" && r.MmapDirectory != "" && r.MmapDirectory == filepath.Base(r.MmapDirectory)
}

// lastingSettings are those that hold for an instance's life and that sessions must agree to.
var lastingSettings = []string{"dynamic_shared_memory_type", "mmap_directory", "max_processes", "max_segments",
	"max_segments_per_process", "max_memory", "max_memory_per_process", "min_dynamic_shared_memory",
	"on_crash", "shutdown_timeout"}

func recordedSettings(s *settings.Settings) map[string]string {
	m := map[string]string{}
	for _, x := range s.List {
		if slices.Contains(lastingSettings, x.Name) {
			m[x.Name] = x.Value
		}
	}
	return m
}
