package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
)

// Client is a connection that speaks memcached's text protocol or Redis's.
type Client struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	text bool
}

func dial(socket string, text bool) (*Client, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	return &Client{conn: conn, in: bufio.NewReaderSize(conn, 16<<10), text: text}, nil
}

// Get appends the value of key to dst. Keys have neither spaces nor line ends.
func (c *Client) Get(key, dst []byte) (value []byte, found bool, err error) {
	c.out = c.out[:0]
	if c.text {
		c.out = append(append(append(c.out, "get "...), key...), "\r\n"...)
	} else {
		c.out = fmt.Appendf(c.out, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(key), key)
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return dst, false, err
	}
	line, err := c.line()
	if err != nil {
		return dst, false, err
	}
	var n int
	if c.text {
		if bytes.Equal(line, []byte("END")) {
			return dst, false, nil
		}
		n, err = strconv.Atoi(string(line[bytes.LastIndexByte(line, ' ')+1:])) // VALUE key flags length
	} else {
		if bytes.Equal(line, []byte("$-1")) {
			return dst, false, nil
		}
		n, err = strconv.Atoi(string(bytes.TrimPrefix(line, []byte("$"))))
	}
	if err != nil || n < 0 {
		return dst, false, fmt.Errorf("the server answers %q", line)
	}
	at := len(dst)
	dst = append(dst, make([]byte, n)...)
	if _, err := io.ReadFull(c.in, dst[at:]); err != nil {
		return dst[:at], false, err
	}
	if _, err := c.in.Discard(2); err != nil {
		return dst[:at], false, err
	}
	if c.text {
		_, err = c.line() // END
	}
	return dst, true, err
}

// Set makes value the key's.
func (c *Client) Set(key, value []byte) error {
	c.out = c.out[:0]
	if c.text {
		c.out = fmt.Appendf(c.out, "set %s 0 0 %d\r\n", key, len(value))
	} else {
		c.out = fmt.Appendf(c.out, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n", len(key), key, len(value))
	}
	c.out = append(append(c.out, value...), "\r\n"...)
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	line, err := c.line()
	if err == nil && string(line) != "STORED" && string(line) != "+OK" {
		err = fmt.Errorf("the server answers %q", line)
	}
	return err
}

func (c *Client) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	return bytes.TrimSuffix(line, []byte("\r\n")), err
}
