# SPDX-License-Identifier: MIT
#
# Homebrew formula. "make dist" writes a copy beside the release tarball with its url and digest in
# place of the two words in capitals; docs/macos.md says how that copy is installed.
class Ronzal < Formula
  desc "Runs llama-server on the GPU for containers and people"
  homepage "https://example.org/ronzal"
  url "URL"
  sha256 "SHA256"
  license "MIT"

  depends_on "pkgconf" => :build
  depends_on "libuv"
  depends_on "llama.cpp"
  depends_on "llhttp"
  depends_on "nettle"
  depends_on "yyjson"

  uses_from_macos "curl"
  uses_from_macos "sqlite"

  def install
    system "make", "build"
    system "make", "install", "PREFIX=#{prefix}"
  end

  service do
    run [opt_bin/"ronzal", "agent"]
    keep_alive successful_exit: false
    process_type :interactive
    environment_variables PATH: std_service_path_env
    log_path var/"log/ronzal.log"
    error_log_path var/"log/ronzal.log"
  end

  def caveats
    <<~EOS
      The agent has to run in your login session, where Metal is:
        ronzal service install
      (brew services start ronzal does the same without its checks; use one of the two).
      For containers: #{opt_libexec}/ronzal/setup-ssh-automation.sh
      After an upgrade, running models go on; "ronzal service install" puts the new agent under them.
    EOS
  end

  test do
    ENV["RONZAL_HOME"] = (testpath/"home").to_s
    assert_match version.to_s, shell_output("#{bin}/ronzal version")
    assert_match "ronzal-demo", shell_output("#{bin}/ronzal models scan")
    assert_match "the agent does not run", shell_output("#{bin}/ronzal service status 2>&1", 10)
  end
end
