# SPDX-License-Identifier: MIT
#
# Homebrew's side of packaging/homebrew/ronzal.rb, as little of it as that formula uses: what it asks
# for is printed, and its test block is run on the programs in the folder BUILD.
#
#   ruby formula.rb FORMULA BUILD FOLDER
require "fileutils"
require "open3"
require "pathname"

FORMULA, BUILD, FOLDER = ARGV

class Pathname
  alias / join
end

class Formula
  attr_reader :asked

  %i[desc homepage url sha256 license depends_on uses_from_macos run keep_alive process_type
     environment_variables log_path error_log_path].each do |word|
    define_singleton_method(word) { |*arguments| puts "#{word} #{arguments.join(" ")}" }
  end
  class << self
    def service(&block) = @service = block
    def test(&block) = define_method(:run_test, &block)
    def run_service = instance_eval(&@service)
    def opt_bin = Pathname("/opt/homebrew/opt/ronzal/bin")
    def var = Pathname("/opt/homebrew/var")
    def std_service_path_env = "/opt/homebrew/bin:/usr/bin:/bin"
  end

  def prefix = Pathname("/opt/homebrew/Cellar/ronzal/1")
  def opt_libexec = Pathname("/opt/homebrew/opt/ronzal/libexec")
  def bin = Pathname(BUILD)
  def testpath = Pathname(FOLDER)
  def version = `#{bin}/ronzal version`.split.last
  def system(*words) = puts("system #{words.join(" ")}")

  def shell_output(command, expected = 0)
    output, status = Open3.capture2(command)
    raise "#{command}: #{status.exitstatus}: #{output}" if status.exitstatus != expected

    output
  end

  def assert_match(expected, text)
    raise "no '#{expected}' in: #{text}" unless text.include?(expected)
  end
end

load FORMULA
formula = Ronzal.new
Ronzal.run_service
formula.install
raise "no caveats" if formula.caveats.empty?

formula.run_test
puts "test passed"
