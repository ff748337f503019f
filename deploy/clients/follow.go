// Keeps FILE as the model at URL is.     usage: go run follow.go URL FILE     needs: nothing but Go
//
// AGENT_ID names this agent (default: the host name), TOKEN_FILE holds a token, WAIT is the longest hold in seconds (25).
package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const most = 64 << 20

// A connection may be silent for the wait and 10 s: then it is dead. A large answer may take long as long as it moves.
type alive struct {
	net.Conn
	most time.Duration
}

func (c alive) Read(into []byte) (int, error) {
	c.SetReadDeadline(time.Now().Add(c.most))
	return c.Conn.Read(into)
}

// Readers see the old file or the new one, whole, also after a crash.
func write(path string, data []byte) error {
	file, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	file.Close()
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	return err
}

// One answer and its body.
func poll(client *http.Client, target, since string, wait int) (int, http.Header, []byte, error) {
	query := url.Values{"since": {since}, "wait": {strconv.Itoa(wait)}}
	request, err := http.NewRequest("GET", target+"?"+query.Encode(), nil)
	if err != nil {
		return 0, nil, nil, err
	}
	agent, _ := os.Hostname()
	if named := os.Getenv("AGENT_ID"); named != "" {
		agent = named
	}
	request.Header.Set("Agent-Id", agent)
	if path := os.Getenv("TOKEN_FILE"); path != "" {
		token, err := os.ReadFile(path)
		if err != nil {
			return 0, nil, nil, err
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, nil, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, most+1)) // gzip is undone by net/http
	if err == nil && len(body) > most {
		err = fmt.Errorf("the body is over %d bytes", most)
	}
	return answer.StatusCode, answer.Header, body, err
}

func main() {
	target, file, wait := os.Args[1], os.Args[2], 25
	if text := os.Getenv("WAIT"); text != "" {
		wait, _ = strconv.Atoi(text)
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return alive{conn, time.Duration(wait+10) * time.Second}, nil
	}
	client := &http.Client{
		Transport:     &http.Transport{DialContext: dial, TLSHandshakeTimeout: 5 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	// What was held when this ended; without its file it is worth nothing.
	since := ""
	if _, err := os.Stat(file); err == nil {
		kept, _ := os.ReadFile(file + ".id")
		since = strings.TrimSpace(string(kept))
	}
	sleep := func(least, most float64) {
		time.Sleep(time.Duration(max(least, most*rand.Float64()) * float64(time.Second)))
	}
	for ceiling, quick := 0.8, 0; ; {
		began := time.Now()
		status, fields, body, err := poll(client, target, since, wait)
		sum := sha256.Sum256(body)
		digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
		if err == nil && status == 204 && since != "" {
			since, ceiling = fields.Get("State-Id"), 0.8
			// The end of a wait. Two at once in a row are a loop.
			if quick++; time.Since(began) >= time.Second {
				quick = 0
			}
			if quick >= 2 {
				sleep(1, 2)
			}
			continue
		}
		if err == nil && status == 200 && fields.Get("State-Digest") == digest {
			// Apply, keep, and only then acknowledge by polling with the new id.
			err = write(file, body)
			if err == nil {
				since, ceiling, quick = fields.Get("State-Id"), 0.8, 0
				err = write(file+".id", []byte(since))
			}
			if err == nil {
				continue
			}
		}
		log.Printf("follow.go: %s: status %d: %v %.300q", target, status, err, body)
		after, _ := strconv.Atoi(fields.Get("Retry-After"))
		switch {
		case err == nil && (status == 429 || status == 503) && after > 0:
			sleep(float64(min(after, 300)), float64(min(after, 300))*1.1)
		case err == nil && status < 500 && status != 408 && status != 425 && status != 429:
			sleep(30, 300) // What is wrong with the request or the credential is not mended soon.
		default:
			sleep(0.2, ceiling) // Full jitter: many that lost a server together must not come back together.
		}
		ceiling = min(30, ceiling*2)
	}
}
