package caches

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/settings"
	"github.com/spf13/cobra"
)

// keyFlag adds --hex to a command, and returns what makes an argument a key.
func keyFlag(cmd *cobra.Command) func(arg string) ([]byte, error) {
	asHex := cmd.Flags().Bool("hex", false, "the key is written as hexadecimal digits")
	return func(arg string) ([]byte, error) {
		if !*asHex {
			return []byte(arg), nil
		}
		key, err := hex.DecodeString(arg)
		if err != nil {
			return nil, fmt.Errorf("%w: the key %q is not hexadecimal: %w", cli.ErrUsage, arg, err)
		}
		return key, nil
	}
}

func (a *app) cacheGetCommand() *cobra.Command {
	var keyOf func(string) ([]byte, error)
	cmd := &cobra.Command{
		ValidArgsFunction: a.First(a.NamesOf(cache.Kind)),
		Use:               "get NAME KEY",
		Short:             "Print the value of a key, exactly; it counts for nothing",
		Args:              cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := keyOf(args[1])
			if err != nil {
				return err
			}
			return a.withCache(cmd.Context(), args[0], func(_ *dsm.Session, c *cache.Cache) error {
				value, found, err := c.Peek(key, nil)
				if err == nil && !found {
					err = fmt.Errorf("%q has no entry with the key %q", args[0], args[1])
				}
				if err != nil {
					return err
				}
				if !a.JSON {
					_, err := a.Stdout.Write(value)
					return err
				}
				info, _, err := c.Info(key)
				ttl := -1.0
				if info.TTL >= 0 {
					ttl = info.TTL.Seconds()
				}
				return errors.Join(err, a.PrintJSON(struct {
					Key    []byte  `json:"key_base64"`
					Size   int     `json:"size"`
					Base64 []byte  `json:"base64"`
					TTL    float64 `json:"ttl_seconds"` // -1: without an end
				}{key, len(value), append([]byte{}, value...), ttl}))
			})
		},
	}
	keyOf = keyFlag(cmd)
	return cmd
}

func (a *app) cacheSetCommand() *cobra.Command {
	var keyOf func(string) ([]byte, error)
	var ttl time.Duration
	var create string
	cmd := &cobra.Command{
		ValidArgsFunction: a.First(a.NamesOf(cache.Kind)),
		Use:               "set NAME KEY [VALUE|-]",
		Short:             "Set the value of a key to VALUE, or to standard input",
		Long: `Set the value of a key to VALUE, or to standard input if VALUE is - or missing. With --create the cache is made, if there is none of
that name; it stays until the end of the instance.`,
		Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := keyOf(args[1])
			if err != nil {
				return err
			}
			limit := uint64(0)
			if create != "" {
				if limit, err = settings.ParseBytes(create); err == nil && (limit < cache.MinLimit || limit > cache.MaxLimit || limit > math.MaxInt) {
					err = fmt.Errorf("%q: a cache has from 1 MB to 64 GB", create)
				}
			}
			if err == nil && ttl < 0 {
				err = fmt.Errorf("--ttl %v is less than 0", ttl)
			}
			if err == nil && args[0] == "" {
				err = errors.New("the name of the cache is empty")
			}
			if err != nil {
				return fmt.Errorf("%w: %w", cli.ErrUsage, err)
			}
			value, _, err := a.Content(cmd.Context(), args[2:], false)
			if err != nil {
				return err
			}
			set := func(c *cache.Cache) error { return c.Set(cmd.Context(), key, value, cache.With{TTL: ttl}) }
			if limit == 0 {
				return a.withCache(cmd.Context(), args[0], func(_ *dsm.Session, c *cache.Cache) error { return set(c) })
			}
			s, err := dsm.Open(cmd.Context(), a.Config)
			if err != nil {
				return err
			}
			c, err := cache.Open(cmd.Context(), s, args[0], cache.Options{Limit: int64(limit)})
			if err == nil {
				err = errors.Join(set(c), c.Close())
			}
			return errors.Join(err, s.Close())
		},
	}
	keyOf = keyFlag(cmd)
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long the entry lives; 0: without an end")
	cmd.Flags().StringVar(&create, "create", "", "make the cache, if there is none, with a limit of so many `bytes`, or with kB, MB, GB")
	return cmd
}

func (a *app) cachePurgeCommand() *cobra.Command {
	var tag, key string
	var keyOf func(string) ([]byte, error)
	cmd := &cobra.Command{
		ValidArgsFunction: a.First(a.NamesOf(cache.Kind)),
		Use:               "purge NAME",
		Short:             "Delete all entries of a cache, those with a tag, or one",
		Args:              cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			one, tagged := cmd.Flags().Changed("key"), cmd.Flags().Changed("tag")
			if one && tagged {
				return fmt.Errorf("%w: it takes one of --key and --tag", cli.ErrUsage)
			}
			k, err := keyOf(key)
			if err != nil {
				return err
			}
			return a.withCache(cmd.Context(), args[0], func(_ *dsm.Session, c *cache.Cache) error {
				switch {
				case tagged:
					return c.DeleteTag(tag)
				case !one:
					return c.Purge(cmd.Context())
				}
				found, err := c.Delete(cmd.Context(), k)
				if err == nil && !found {
					err = fmt.Errorf("%q has no entry with the key %q", args[0], key)
				}
				return err
			})
		},
	}
	keyOf = keyFlag(cmd)
	cmd.Flags().StringVar(&tag, "tag", "", "delete the entries that bear `TAG`")
	cmd.Flags().StringVar(&key, "key", "", "delete the entry of `KEY`")
	return cmd
}

// VerifyRow is a line of cache verify.
type VerifyRow struct {
	Name     string   `json:"name"`
	Entries  int      `json:"entries"`
	Live     int      `json:"live"` // bytes of the entries' records
	Log      int      `json:"log"`  // bytes that there are for records
	Free     int      `json:"free_extents"`
	Index    int      `json:"index_extents"` // that the index has grown by
	Problems []string `json:"problems"`
}

func (a *app) cacheVerifyCommand() *cobra.Command {
	return &cobra.Command{
		ValidArgsFunction: a.First(a.NamesOf(cache.Kind)),
		Use:               "verify [NAME]",
		Short:             "Walk a cache, or all, and say what is wrong",
		Long: `Walk the cache of that name, or all, while they are used, and say what is wrong. What a dead process has left is repaired first.
The exit status is 1 if anything is wrong.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, rows, wrong := "", []VerifyRow{}, error(nil)
			if len(args) == 1 {
				if name = args[0]; name == "" {
					return fmt.Errorf("%w: the name of the cache is empty", cli.ErrUsage)
				}
			}
			err := a.withCaches(cmd.Context(), name, func(_ *dsm.Session, list []foundCache) error {
				for _, c := range list {
					r, err := c.Verify(cmd.Context())
					if err != nil {
						return err
					}
					if len(r.Wrong) > 0 {
						wrong = cli.ErrProblems
					}
					rows = append(rows, VerifyRow{c.info.Name, r.Entries, r.Live, r.Log, r.Free, r.Index, append([]string{}, r.Wrong...)})
				}
				return nil
			})
			if err != nil {
				return err
			}
			if a.JSON {
				return errors.Join(a.PrintJSON(rows), wrong)
			}
			err = cli.PrintTable(a.Stdout, "NAME\tENTRIES\tLIVE\tLOG\tFREE\tINDEX\tPROBLEMS", rows, func(r VerifyRow) string {
				return fmt.Sprintf("%s\t%d\t%s\t%s\t%d\t%d\t%d", r.Name, r.Entries, cli.Size(int64(r.Live)), cli.Size(int64(r.Log)), r.Free, r.Index,
					len(r.Problems))
			})
			for _, r := range rows {
				for _, p := range r.Problems {
					_, werr := fmt.Fprintf(a.Stdout, "%s: %s\n", r.Name, p)
					err = errors.Join(err, werr)
				}
			}
			return errors.Join(err, wrong)
		},
	}
}
