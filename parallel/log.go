package parallel

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/rs/zerolog"
)

// levelOf returns the least level at which a logger writes at all.
func levelOf(log zerolog.Logger) zerolog.Level {
	for l := zerolog.TraceLevel; l < zerolog.NoLevel; l++ {
		if log.WithLevel(l).Enabled() {
			return l
		}
	}
	return zerolog.Disabled
}

// relayLog writes a worker's line to the leader's log, under the same level, with the worker's number.
func relayLog(log zerolog.Logger, worker int, line []byte) {
	fields := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		log.Warn().Int("worker", worker).Str("line", string(line)).Str("event", "worker-line").Msg("a worker's log line that is no JSON")
		return
	}
	level, _ := fields[zerolog.LevelFieldName].(string)
	message, _ := fields[zerolog.MessageFieldName].(string)
	for _, name := range []string{zerolog.LevelFieldName, zerolog.MessageFieldName, zerolog.TimestampFieldName} {
		delete(fields, name)
	}
	l, err := zerolog.ParseLevel(level)
	if err != nil {
		l = zerolog.NoLevel
	}
	e := log.WithLevel(l).Int("worker", worker)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		e = e.Interface(name, fields[name])
	}
	e.Msg(message)
}
