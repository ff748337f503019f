// The DNS server of the test node: CoreDNS with the plugins that tests/node's Corefile names. The program that CoreDNS
// itself ships has all of its plugins, among them the clients of three clouds, and takes minutes to build.
package main

import (
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"

	"github.com/coredns/coredns/coremain"
)

func main() {
	coremain.Run()
}
