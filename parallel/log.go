package parallel

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/rs/zerolog"

	"github.com/godsm/godsm/internal/excerpt"
)

// logLevel returns the least level at which a logger writes at all.
func logLevel(log zerolog.Logger) zerolog.Level {
	for l := zerolog.TraceLevel; l < zerolog.NoLevel; l++ {
		if log.WithLevel(l).Enabled() {
			return l
		}
	}
	return zerolog.Disabled
}

// mostFields is how many fields a worker's line may have, level, message and time among them.
const mostFields = 64

// relayLog writes a worker's line to the leader's log, under the same level, with the worker's number. What is too long
// to be read is shortened: each field, and the message.
func relayLog(log zerolog.Logger, worker int, line []byte) {
	fields := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil || len(fields) > mostFields {
		log.Warn().Int("worker", worker).Str("line", excerpt.Of(string(line), excerpt.Text)).Str("event", "worker-line").Msg("a worker's log line that is no JSON or has too many fields")
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
		e = e.Interface(excerpt.Of(name, excerpt.Value), readableLogValue(fields[name]))
	}
	e.Msg(excerpt.Of(message, excerpt.Text))
}

// readableLogValue returns a field's value or, if its JSON has more than excerpt.Text bytes, an excerpt of its text.
func readableLogValue(value any) any {
	if text, ok := value.(string); ok {
		return excerpt.Of(text, excerpt.Text)
	}
	b, err := json.Marshal(value)
	if err != nil || len(b) <= excerpt.Text {
		return value
	}
	return excerpt.Of(string(b), excerpt.Text)
}
