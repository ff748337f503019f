// The app of the node's tests, small enough for an image FROM scratch: it serves its pod's name, or asks for a URL.
//
// usage: app serve :PORT      answers every request with the host's name and a line in the log; ends on SIGTERM
//
//	app get URL          prints the body; ends with 1 when there is none within 5 s
//	app poll URL CLIENTS TEXT...
//	                     as many clients poll the URL, each as the protocol says. For each TEXT in turn it prints "all
//	                     hold TEXT" when every client has been given a body with it; at the end, how many requests
//	                     failed and why
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		serve(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "get":
		get(os.Args[2])
	case len(os.Args) >= 5 && os.Args[1] == "poll":
		clients, err := strconv.Atoi(os.Args[3])
		if err != nil {
			fail(err)
		}
		poll(os.Args[2], clients, os.Args[4:])
	default:
		fail(fmt.Errorf("usage: app serve :PORT | app get URL | app poll URL CLIENTS TEXT..."))
	}
}

func serve(address string) {
	name, err := os.Hostname()
	if err != nil {
		fail(err)
	}
	// The first process of a container is not ended by a signal that it does not handle.
	stop, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	server := &http.Server{Addr: address, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("asked for", r.URL.Path)
		fmt.Fprintln(w, name)
	})}
	go func() {
		<-stop.Done()
		os.Exit(0)
	}()
	fail(server.ListenAndServe())
}

func get(url string) {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		fail(err)
	}
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		fail(err)
	}
}

// What became of the clients' requests.
type tally struct {
	sync.Mutex
	holds  map[int]string // the body that each client was given last
	failed map[string]int // by reason
}

func poll(url string, clients int, texts []string) {
	told := &tally{holds: map[int]string{}, failed: map[string]int{}}
	for client := 0; client < clients; client++ {
		go told.follow(url, client)
	}
	for _, text := range texts {
		for told.holding(text) < clients {
			time.Sleep(50 * time.Millisecond)
		}
		fmt.Println("all hold", text)
	}
	told.Lock()
	fmt.Println("failed:", len(told.failed), told.failed)
}

func (told *tally) holding(text string) int {
	told.Lock()
	defer told.Unlock()
	count := 0
	for _, body := range told.holds {
		if strings.Contains(body, text) {
			count++
		}
	}
	return count
}

// follow polls for ever, over a connection of its own.
func (told *tally) follow(url string, number int) {
	client := http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: 70 * time.Second}
	id := ""
	for {
		status, state, body, err := ask(&client, url+"?since="+id, number)
		told.Lock()
		switch {
		case err != nil:
			told.failed[err.Error()]++
		case status == http.StatusOK:
			id, told.holds[number] = state, body
		case status == http.StatusNoContent:
			id = state
		default:
			told.failed[fmt.Sprint("status ", status)]++
		}
		told.Unlock()
		if err != nil || status >= 300 {
			time.Sleep(time.Second)
		}
	}
}

func ask(client *http.Client, url string, number int) (int, string, string, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, "", "", err
	}
	request.Header.Set("Agent-Id", fmt.Sprint("client-", number))
	// A connection that broke before its answer is tried again behind our back: by this it shows.
	connections := 0
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connections++ }}
	response, err := client.Do(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	if err != nil {
		return 0, "", "", err
	}
	defer response.Body.Close()
	if connections != 1 {
		return 0, "", "", fmt.Errorf("asked over %d connections", connections)
	}
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, response.Header.Get("State-Id"), string(body), err
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
