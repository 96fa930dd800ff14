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
	cmd := &cobra.Command{
		Use:               "show [NAME]",
		GroupID:           cli.Run,
		ValidArgsFunction: a.First(a.SettingNames),
		Short:             "Show the settings that would hold here, and where each comes from",
		Args:              cobra.MaximumNArgs(1),
	}
	list := cli.NewListing(cmd, settingColumns...)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
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
		return list.Show(a.App, rows)
	}
	return cmd
}

var settingColumns = []cli.Column[SettingRow]{
	{Name: "name", Heading: "NAME", Text: func(r SettingRow) string { return r.Name }, Whole: true},
	{Name: "value", Heading: "VALUE", Text: func(r SettingRow) string { return cmp.Or(r.Value, "-") }},
	{Name: "unit", Heading: "UNIT", Text: func(r SettingRow) string { return cmp.Or(r.Unit, "-") }},
	{Name: "default", Heading: "DEFAULT", Text: func(r SettingRow) string { return cmp.Or(r.Default, "-") }},
	{Name: "from", Heading: "FROM", Text: func(r SettingRow) string { return r.Source }},
	{Name: "about", Heading: "ABOUT", Text: func(r SettingRow) string { return r.About }, Extra: true},
}
