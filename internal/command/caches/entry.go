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
