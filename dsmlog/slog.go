// Package dsmlog lets a program that logs by log/slog hear the library, which logs by zerolog. doc/logs.md lists the events.
package dsmlog

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/rs/zerolog"
)

// Slog returns a logger for dsm.Config whose events go to l: each as one record with the same level, message and fields, in their
// order. Levels that l's handler does not want are not made at all: which those are is asked once, by Slog. A trace is a
// slog.LevelDebug-4. A nil l gets nothing.
func Slog(l *slog.Logger) zerolog.Logger {
	if l == nil {
		return zerolog.Nop()
	}
	h := l.Handler()
	least := zerolog.Disabled
	for level := zerolog.ErrorLevel; level >= zerolog.TraceLevel; level-- {
		if h.Enabled(context.Background(), levelOf(level)) {
			least = level
		}
	}
	return zerolog.New(bridge{h}).Level(least).With().Timestamp().Logger()
}

func levelOf(l zerolog.Level) slog.Level {
	switch l {
	case zerolog.TraceLevel:
		return slog.LevelDebug - 4
	case zerolog.DebugLevel:
		return slog.LevelDebug
	case zerolog.WarnLevel:
		return slog.LevelWarn
	case zerolog.ErrorLevel, zerolog.FatalLevel, zerolog.PanicLevel:
		return slog.LevelError
	}
	return slog.LevelInfo
}

// bridge takes events as zerolog writes them, a JSON object each.
type bridge struct{ handler slog.Handler }

// Write hands an event on that has no level.
func (b bridge) Write(line []byte) (int, error) { return b.WriteLevel(zerolog.NoLevel, line) }

// WriteLevel hands one event on. An error is the handler's, or says that the line is no event.
func (b bridge) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	ctx, l := context.Background(), levelOf(level)
	if !b.handler.Enabled(ctx, l) {
		return len(line), nil
	}
	r := slog.NewRecord(time.Now(), l, "", 0)
	if err := fill(&r, line); err != nil {
		return 0, fmt.Errorf("a log event that is no JSON object: %w", err)
	}
	return len(line), b.handler.Handle(ctx, r)
}

// fill adds an event's fields to a record.
func fill(r *slog.Record, line []byte) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("it begins with %v (%w)", t, orEOF(err))
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return err
		}
		switch name := key.(string); name {
		case zerolog.LevelFieldName, zerolog.TimestampFieldName: // the record has them
		case zerolog.MessageFieldName:
			r.Message = fmt.Sprint(value)
		default:
			r.AddAttrs(attr(name, value))
		}
	}
	return nil
}

func attr(name string, value any) slog.Attr {
	if n, ok := value.(json.Number); ok {
		if i, err := n.Int64(); err == nil {
			return slog.Int64(name, i)
		}
		if f, err := n.Float64(); err == nil {
			return slog.Float64(name, f)
		}
	}
	return slog.Any(name, value)
}

func orEOF(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}
