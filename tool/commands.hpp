// SPDX-License-Identifier: MIT
// The commands, each in a file of its name. They return an exit_code; argv[0] is "ipq NAME".
#pragma once

namespace tool {

int accept_main(int argc, char** argv);
int check_main(int argc, char** argv);
int cleanup_main(int argc, char** argv);
int compare_main(int argc, char** argv);
int demo_main(int argc, char** argv);
int doctor_main(int argc, char** argv);
int drop_main(int argc, char** argv);
int replay_main(int argc, char** argv);
int run_main(int argc, char** argv);
int status_main(int argc, char** argv);
int top_main(int argc, char** argv);
int watch_main(int argc, char** argv);

}  // namespace tool
