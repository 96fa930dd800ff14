// Package sdnotify tells a service manager how a service is: systemd, or another one that speaks its protocol of small
// messages through a socket (sd_notify(3), Type=notify). Nothing here waits for the manager, and a program that
// no manager has started tells nothing and does nothing.
//
// Of the messages it has READY, STATUS, WATCHDOG, STOPPING and EXTEND_TIMEOUT_USEC. A supervisor reads its settings when it
// starts and never again, so there is no RELOADING.
package sdnotify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Manager is the service manager that started this process. A nil Manager is none: its methods do nothing.
type Manager struct {
	socket   string
	watchdog time.Duration // the manager ends a service that is not heard of for so long; 0 if it does not
}

// FromEnvironment finds the manager that NOTIFY_SOCKET names, and takes what is about it out of the environment: processes
// that this one starts have nothing to tell. It is nil if there is none. An error says that what the manager
// has set is invalid.
func FromEnvironment() (*Manager, error) {
	socket, usec, pid := os.Getenv("NOTIFY_SOCKET"), os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		_ = os.Unsetenv(name)
	}
	if socket == "" {
		return nil, nil
	}
	if socket[0] != '/' && socket[0] != '@' {
		return nil, fmt.Errorf("NOTIFY_SOCKET = %q: only a path and an abstract name (@NAME) are supported", socket)
	}
	m := &Manager{socket: socket}
	if usec == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) { // the watchdog is another process's
		return m, nil
	}
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n <= 0 || n > int64(maxWatchdog/time.Microsecond) {
		return nil, fmt.Errorf("WATCHDOG_USEC = %q: it must be a number of microseconds of at least 1", usec)
	}
	m.watchdog = time.Duration(n) * time.Microsecond
	return m, nil
}

const maxWatchdog = 1000 * time.Hour

// tell sends one message. It does not wait: if the manager has no room for the message, that is an error.
func (m *Manager) tell(lines ...string) error {
	if m == nil {
		return nil
	}
	for _, l := range lines {
		if strings.Contains(l, "\n") {
			return fmt.Errorf("%q: a message to the service manager must be one line", l)
		}
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: m.socket})
	if err != nil {
		return err
	}
	defer conn.Close()
	return send(conn, []byte(strings.Join(lines, "\n")))
}

// Stopping tells that the service has begun to end, and how long that may take.
func (m *Manager) Stopping(status string, within time.Duration) error {
	return m.tell("STOPPING=1", statusLine(status),
		"EXTEND_TIMEOUT_USEC="+strconv.FormatInt(within.Microseconds(), 10))
}

func statusLine(status string) string {
	return "STATUS=" + strings.Join(strings.Fields(status), " ")
}

var errBusy = errors.New("the service manager's socket is full")
