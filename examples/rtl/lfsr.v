// A linear-feedback shift register that gives noise for COUNT elements at a time, BITS each: the one of
// fmtlib.vectors.LFSR.  A step shifts left; the new lowest bit is the exclusive or of the bits in TAPS.
// Element i of the first clock takes the lowest bits of the state after i * STEPS steps from SEED.
`timescale 1ns / 1ns
module lfsr #(
    parameter WIDTH = 16,
    parameter [WIDTH-1:0] SEED = 1,
    parameter [WIDTH-1:0] TAPS = 16'hd008,  // x^16 + x^15 + x^13 + x^4 + 1: bits 15, 14, 12, 3
    parameter STEPS = 8,
    parameter BITS = 8,
    parameter COUNT = 16
) (
    input  wire                  clock,
    input  wire                  reset,  // back to the seed
    input  wire                  next,   // on to the next COUNT elements
    output reg  [COUNT*BITS-1:0] noise   // the first element in the lowest bits
);
    reg [WIDTH-1:0] state, ahead;
    integer i, j;

    always @* begin
        ahead = state;
        for (i = 0; i < COUNT; i = i + 1) begin
            noise[i*BITS +: BITS] = ahead[BITS-1:0];
            for (j = 0; j < STEPS; j = j + 1)
                ahead = {ahead[WIDTH-2:0], ^(ahead & TAPS)};
        end
    end

    always @(posedge clock)
        if (reset)     state <= SEED;
        else if (next) state <= ahead;
endmodule
