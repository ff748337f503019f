// Reads a stream, and prints each event on a line: its id, its name and its data, in JSON.
//
// usage: read events|ws URL EVENTS [LAST-EVENT-ID]
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/coder/websocket"
)

type event struct {
	ID    string `json:"id"`
	Event string `json:"event"`
	Data  string `json:"data"`
}

var left int

func print(read event) {
	line, err := json.Marshal(read)
	check(err)
	fmt.Println(string(line))
	if left--; left == 0 {
		os.Exit(0)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	last := ""
	if len(os.Args) > 4 {
		last = os.Args[4]
	}
	var err error
	left, err = strconv.Atoi(os.Args[3])
	check(err)
	if os.Args[1] == "ws" {
		messages(os.Args[2], last)
	}
	events(os.Args[2], last)
}

func events(from, last string) {
	request, err := http.NewRequest("GET", from, nil)
	check(err)
	request.Header.Set("Accept", "text/event-stream")
	if last != "" {
		request.Header.Set("Last-Event-ID", last)
	}
	response, err := http.DefaultClient.Do(request)
	check(err)
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 16<<20)
	read, data := event{Event: "message"}, []string{}
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			read.ID = value
		case "event":
			read.Event = value
		case "data":
			data = append(data, value)
		case "":
			if len(data) > 0 {
				read.Data = strings.Join(data, "\n")
				print(read)
			}
			read, data = event{ID: read.ID, Event: "message"}, nil
		}
	}
	check(fmt.Errorf("the stream ended: %v", lines.Err()))
}

func messages(from, last string) {
	target, err := url.Parse(from)
	check(err)
	if last != "" {
		target.RawQuery = url.Values{"since": {last}}.Encode()
	}
	offer := websocket.DialOptions{Subprotocols: []string{"tidewait.v1"}}
	socket, _, err := websocket.Dial(context.Background(), target.String(), &offer)
	check(err)
	for {
		_, data, err := socket.Read(context.Background())
		check(err)
		print(event{Data: string(data)})
	}
}
