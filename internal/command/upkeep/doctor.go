package upkeep

import (
	"errors"
	"fmt"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/command/doctor"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/settings"
	"github.com/spf13/cobra"
)

// errBites makes the exit status 1; what bites has been said.
var errBites = errors.New("something bites: see above")

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "doctor",
		GroupID: cli.Examine,
		Short:   "Look for what bites on this machine, and for what dead instances left; change nothing",
		Long: `Look at the machine, the directory and the leftovers of dead instances, and say what it means and what
mends it. Nothing is changed.

The exit status is 1 if something bites: fails, or will. With --json one array of findings: check, status (ok, note,
bites), found, means, cure.`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{cli.NoCleaning: "", cli.JudgesSettings: ""},
		RunE: func(cmd *cobra.Command, _ []string) error {
			list := []doctor.Finding{}
			s, err := instance.Backends{}.Load(a.Config.Dir, a.Config.Settings)
			if err == nil {
				list = append(list, doctor.Finding{Check: "settings", Status: doctor.OK,
					Found: "all are understood; type " + s.DynamicSharedMemoryType})
			} else {
				list = append(list, doctor.Finding{Check: "settings", Status: doctor.Bites, Found: cli.OneLine(err),
					Means: "nothing can be started or opened",
					Cure:  "mend the setting that is named; dsmctl show lists those there are"})
				if s, err = settings.Load("", instance.Backends{}.Types(), nil); err != nil {
					s = &settings.Settings{} // the environment is wrong too
				}
			}
			if r, ok := recordOf(a.Config.Dir); ok {
				_, gone := dsm.Inspect(cmd.Context(), a.Config) // then the next start begins anew
				if err := r.Waiting(s); err != nil && gone == nil {
					list = append(list, doctor.Finding{Check: "settings_waiting", Status: doctor.Note, Found: cli.OneLine(err),
						Means: "what the file says holds when the instance begins anew: a supervisor that adopts memory keeps its settings",
						Cure:  "end the programs and the supervisor, then: dsmctl clean --force --dir " + a.Config.Dir + ", and start them again"})
				}
				s.DynamicSharedMemoryType = r.Backend // of the one that is there, whatever a new one would have
			}
			m := doctor.Here()
			list = append(list, m.Check(s.Values)...)
			found, known := m.Instance(cmd.Context(), a.Config)
			list = append(list, found...)
			list = append(list, m.Strangers(known)...)
			if err := a.printFindings(list); err != nil {
				return err
			}
			if doctor.Worst(list) == doctor.Bites {
				return errBites
			}
			return nil
		},
	}
}

// recordOf returns the record of the instance that the directory has had last, and whether there is one.
func recordOf(dir string) (r instance.Record, ok bool) {
	d, err := instance.OpenDir(dir)
	if err != nil {
		return r, false
	}
	defer d.Close()
	r, err = d.ReadRecord()
	return r, err == nil
}

func (a *app) printFindings(list []doctor.Finding) error {
	if a.JSON {
		return a.PrintJSON(list)
	}
	tints := map[doctor.Status]cli.Tint{doctor.OK: cli.Good, doctor.Note: cli.Odd, doctor.Bites: cli.Bad}
	for _, f := range list {
		text := fmt.Sprintf("%s  %-18s %s\n", a.Paint(tints[f.Status], fmt.Sprintf("%-5s", f.Status)), f.Check, f.Found)
		if f.Means != "" {
			text += fmt.Sprintf("%26s%s\n", "", f.Means)
		}
		if f.Cure != "" {
			text += fmt.Sprintf("%26scure: %s\n", "", f.Cure)
		}
		if _, err := fmt.Fprint(a.Stdout, text); err != nil {
			return err
		}
	}
	return nil
}
