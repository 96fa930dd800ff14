package upkeep

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/instance"
	"github.com/spf13/cobra"
)

// SettingRow is a line of show.
type SettingRow struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Unit    string `json:"unit"`
	Default string `json:"default"`
	Source  string `json:"source"`
	About   string `json:"about"`
}

func (a *app) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show [NAME]",
		ValidArgsFunction: a.First(a.SettingNames),
		Short:             "Show the settings that would hold here, and where each comes from",
		Args:              cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := instance.Backends{}.Load(a.Config.Dir, a.Config.Settings)
			if err != nil {
				return err
			}
			rows := []SettingRow{}
			for _, x := range s.List {
				rows = append(rows, SettingRow(x))
			}
			if len(args) == 1 {
				i := slices.IndexFunc(rows, func(r SettingRow) bool { return strings.EqualFold(r.Name, args[0]) })
				if i < 0 {
					return fmt.Errorf("there is no setting %q: show lists them all", args[0])
				}
				rows = rows[i : i+1]
				if a.JSON {
					return a.PrintJSON(rows[0])
				}
			}
			if a.JSON {
				return a.PrintJSON(rows)
			}
			return cli.PrintTable(a.Stdout, "NAME\tVALUE\tUNIT\tDEFAULT\tFROM", rows, func(r SettingRow) string {
				return fmt.Sprintf("%s\t%s\t%s\t%s\t%s", r.Name, cmp.Or(r.Value, "-"), cmp.Or(r.Unit, "-"),
					cmp.Or(r.Default, "-"), r.Source)
			})
		},
	}
}
